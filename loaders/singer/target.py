"""Land the records of a stream, load them, and give back each state when all before it is safe."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO

from larder.errors import LandingError
from larder.settings import Settings
from loaders.asides import make_aside, remove_aside
from loaders.follow import describe_load
from loaders.landing import sha256_of
from loaders.ledger import Ledger
from loaders.limits import MAX_LINE_BYTES
from loaders.load import load
from loaders.singer.messages import UNKNOWN_FOLDER, Record, State, place_of, read_message
from loaders.vault import open_vault
from loaders.zones import open_zone

# What has come is landed and loaded when it is so much, or so old: many small files load slowly.
FLUSH_BYTES = 64 * 1024 * 1024
FLUSH_SECONDS = 30.0
READ_BYTES = 1024 * 1024
# A message of more is cut off, and its record too long anyway.
LONGEST_MESSAGE = 16 * MAX_LINE_BYTES
WITHOUT_STREAM = f"{UNKNOWN_FOLDER}/singer"

Say = Callable[[str], None]


def load_singer(
    settings: Settings,
    now: Callable[[], datetime],
    descriptor: int,
    give_back: Callable[[str], None],
    say: Say,
) -> None:
    """Land and load the stream that comes from a file descriptor, until it ends.

    `give_back` takes each state, in its order, when every record before it is in raw, durable; a
    tap that goes on from there after a kill has lost nothing, and what it sends again changes
    nothing. `say` takes a line for each load.

    Raises:
        LandingError: a state cannot be given back, for the records before it are not durable.
        KeyMismatchError: the vault cannot be used.
    """
    target = _Target(settings, now, give_back, say)
    with target.opened:
        for line in read_lines(descriptor):
            if line is not None:
                target.take(line)
            if target.is_due():
                target.flush()
        target.flush()


def read_lines(descriptor: int) -> Iterator[bytes | None]:
    """Give the lines as they come, without their ends; null for every second in which none came.

    Of a line that is too long the start is given, which is no JSON.
    """
    rest, is_skipping = b"", False
    while True:
        if not select.select([descriptor], [], [], 1.0)[0]:
            yield None
            continue
        chunk = os.read(descriptor, READ_BYTES)
        if not chunk:
            break
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if not is_skipping:
                yield line
            is_skipping = False
        if is_skipping:
            rest = b""
        elif len(rest) > LONGEST_MESSAGE:
            yield rest[: MAX_LINE_BYTES + 2]
            rest, is_skipping = b"", True
    if rest:
        yield rest


@dataclass
class _Target:
    settings: Settings
    now: Callable[[], datetime]
    give_back: Callable[[str], None]
    say: Say
    opened: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.settings.raw_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._spool = make_aside(self.settings.raw_folder)
        self.opened.callback(remove_aside, self._spool)
        self.opened.callback(self._close)
        self._files: dict[str, IO[bytes]] = {}
        self._states: list[str] = []
        self._bytes = 0
        self._since = 0.0
        self._last_place = WITHOUT_STREAM

    def take(self, line: bytes) -> None:
        """Keep what a message brings until the next flush."""
        if not line.strip():
            return
        message = read_message(line)
        if message is None:
            return
        if not self._bytes:
            self._since = time.monotonic()
        if isinstance(message, State):
            self._states.append(message.text)
            self._bytes += len(message.text) + 1
        else:
            self._spool_record(message)

    def _spool_record(self, record: Record) -> None:
        # a line that is no message most likely is of the stream that those before it are of
        place = place_of(record.stream) if record.stream else self._last_place
        self._last_place = place
        if place not in self._files:
            self._files[place] = (self._spool / f"{len(self._files)}").open("wb")
        self._files[place].write(record.line + b"\n")
        self._bytes += len(record.line) + 1

    def _close(self) -> None:
        for file in self._files.values():
            file.close()

    def is_due(self) -> bool:
        """Tell whether what has come is much or old enough."""
        age = time.monotonic() - self._since
        return self._bytes >= FLUSH_BYTES or (self._bytes > 0 and age >= FLUSH_SECONDS)

    def flush(self) -> None:
        """Land and load what has come, and only then give back the states."""
        if self._files:
            started = time.monotonic()
            names = self._land()
            summary = load(self.settings, self.now, only=names)
            ledger = Ledger(self.settings.raw_folder).read()
            if any(not ledger.origins(name) for name in names):
                why = "; ".join(f"{one.relative}: {one.why}" for one in summary.unread)
                raise LandingError(
                    "Records from standard input were landed, but could not be loaded"
                    f"{f' ({why})' if why else ''}. Nothing is lost: the next load takes them, and "
                    "the tap sends them again, for the state after them was not given back."
                )
            self.say(describe_load(summary, time.monotonic() - started))
        try:
            for state in self._states:
                self.give_back(state)
        except BrokenPipeError as error:
            raise LandingError(
                "The states cannot be given back: nobody reads standard output any more. All "
                "records before them are loaded; what is sent again changes nothing."
            ) from error
        self._files, self._states, self._bytes = {}, [], 0

    def _land(self) -> list[str]:
        names = []
        self._close()
        with open_vault(self.settings) as vault, open_zone(self.settings) as zone:
            for place, file in self._files.items():
                path = Path(file.name)
                content = sha256_of(path).encode()
                # the name outlives an erasure: it must not tell who guesses a record that it is so
                name = f"{place}/singer-{vault.content_name(content)}.ndjson"
                if zone.look_up(name) is None:
                    zone.put(name, path)
                names.append(name)
                path.unlink()
        return names
