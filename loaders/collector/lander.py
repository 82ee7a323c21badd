"""From the spool to the landing zone: each closed segment becomes a file for each of its entities.

The files' names come from the segment's, and the segment goes last: killed anywhere, it is done
again and gives the same files, which a load takes once.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from larder.errors import LandingError, LarderError
from larder.settings import Settings
from loaders.collector.frames import Frames, decode
from loaders.collector.measures import Measures
from loaders.collector.segments import SUFFIX, Segment, adopt, find_segments, sync_folder

if TYPE_CHECKING:
    from loaders.zones import Zone

LOOK_SECONDS = 10.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 30.0
# Beyond the time that a running collector holds its segment.
EMPTYING_SECONDS = 18.0
DAMAGED_SUFFIX = ".damaged"


@dataclass
class _Try:
    failed: bool = False


@dataclass(frozen=True)
class Landed:
    """Say how many files came of a segment, and how many of its bytes could not be read."""

    files: int
    lost_bytes: int


class Lander:
    """Land the segments that are given to it, and those that killed collectors have left."""

    def __init__(
        self, settings: Settings, folder: Path, measures: Measures, log: logging.Logger
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._measures = measures
        self._log = log
        self._closed: queue.SimpleQueue[Segment | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        # the last one that was given did not land, nor any since: all are left to the looks
        self._is_down = False
        self._thread = threading.Thread(target=self._run, name="lander")
        self._thread.start()

    def give(self, segment: Segment) -> None:
        """Take a closed segment with its lock."""
        self._closed.put(segment)

    def close(self) -> None:
        """Land what was given, if that can be done at once; the next collector does the rest."""
        self._stopping.set()
        self._closed.put(None)
        self._thread.join()

    def is_alive(self) -> bool:
        """Tell whether anything will land: the thread has not ended."""
        return self._thread.is_alive()

    def _run(self) -> None:
        look_at, pause = 0.0, FIRST_PAUSE_SECONDS
        while True:
            try:
                segment = self._closed.get(timeout=max(look_at - time.monotonic(), 0))
            except queue.Empty:
                if self._land_left():
                    look_at, pause = time.monotonic() + LOOK_SECONDS, FIRST_PAUSE_SECONDS
                else:
                    look_at = time.monotonic() + pause
                    pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
                continue
            if segment is None:
                return
            if self._is_down and not self._stopping.is_set():
                os.close(segment.descriptor)  # waiting for its turn, each would hold a file open
            elif not self._land(segment.path, segment.descriptor):
                self._is_down = True
                look_at = min(look_at, time.monotonic() + pause)

    def _land_left(self) -> bool:
        """Land what nobody holds, of whomever it is; tell whether all of it could be."""
        with self._telling(self._folder) as tried:
            for path in find_segments(self._folder):
                descriptor = None
                with self._telling(path) as opened:
                    descriptor = adopt(path)
                if opened.failed or (descriptor is not None and not self._land(path, descriptor)):
                    tried.failed = True
                if self._stopping.is_set() or not self._closed.empty():
                    break  # what is new goes first; the rest at the next look
        return not tried.failed

    def _land(self, path: Path, descriptor: int) -> bool:
        """Land a locked segment and let go of it; where that fails, a later look finds it."""
        from loaders.zones import open_zone  # takes long to import, and to be ready comes first

        with self._telling(path) as tried:
            try:
                with open_zone(self._settings) as zone:
                    landed = land_segment(zone, path)
            finally:
                os.close(descriptor)
            self._is_down = False
            self._measures.landed_files.inc(landed.files)
            if landed.lost_bytes:
                self._log.error(
                    "damaged segment kept",
                    extra={"segment": path.name, "bytes": landed.lost_bytes},
                )
        return not tried.failed

    @contextmanager
    def _telling(self, path: Path) -> Iterator[_Try]:
        """Tell of a failure and go on, whatever it is: without this thread nothing lands."""
        tried = _Try()
        try:
            yield tried
        except Exception as error:
            tried.failed = True
            self._measures.landing_failures.inc()
            more = {"segment": path.name, "why": str(error)}
            if isinstance(error, OSError | LarderError):
                self._log.warning("not landed yet", extra=more)
            else:
                self._log.exception("not landed, and the fault is ours", extra=more)


def land_segment(zone: Zone, path: Path) -> Landed:
    """Write the files of a segment that is held, and remove it; a damaged one is set aside."""
    frames = decode(path.read_bytes())
    contents = _contents(frames)
    with TemporaryDirectory(dir=path.parent, prefix="landing-") as temporary:
        for entity, content in contents.items():
            file = Path(temporary) / "lines"
            file.write_bytes(content)
            zone.put(_landing_name(entity, path), file)
    if frames.is_damaged:
        # what can be read has landed; the rest is for a person to look at
        path.rename(path.with_suffix(DAMAGED_SUFFIX))
    else:
        path.unlink()
    sync_folder(path.parent)
    return Landed(len(contents), frames.lost_bytes if frames.is_damaged else 0)


def empty_spool(settings: Settings, seconds: float | None = None) -> None:
    """See that all that the spool holds now has landed, so that whoever searches overlooks nothing.

    Raises:
        LandingError: a running collector does not land its segment in that time, one cannot be
            opened, or a damaged one waits to be looked at.
    """
    if seconds is None:
        seconds = settings.collector_hold_seconds + EMPTYING_SECONDS
    folder = settings.spool_folder
    waiting = list(find_segments(folder))
    until = time.monotonic() + seconds
    while waiting:
        for path in waiting:
            _land_now(settings, path)
        waiting = [path for path in waiting if path.exists()]
        if waiting and time.monotonic() > until:
            raise LandingError(
                f"{waiting[0]} has not landed after {seconds:g} s: the collector that holds it "
                "cannot write to the landing zone, and its log says why. Mend that and run again."
            )
        if waiting:
            time.sleep(0.1)
    damaged = sorted(folder.glob(f"*{DAMAGED_SUFFIX}"))
    if damaged:
        raise LandingError(
            f"{damaged[0]} holds bytes that could not be read, and may hold anybody. Look into it, "
            "remove it, and run again."
        )


def _land_now(settings: Settings, path: Path) -> None:
    """Land a segment, if nobody holds it."""
    from loaders.zones import open_zone

    try:
        descriptor = adopt(path)
    except OSError as error:
        raise LandingError(
            f"{path} cannot be opened ({error.strerror}), and may hold anybody. Let this user read "
            "and write it, and run again."
        ) from error
    if descriptor is not None:
        try:
            with open_zone(settings) as zone:
                land_segment(zone, path)
        finally:
            os.close(descriptor)


def _contents(frames: Frames) -> dict[str, bytes]:
    parts: defaultdict[str, list[bytes]] = defaultdict(list)
    for frame in frames.whole:
        parts[frame.entity].append(frame.lines)
    return {entity: b"".join(lines) for entity, lines in parts.items()}


def _landing_name(entity: str, segment: Path) -> str:
    name = segment.name.removesuffix(SUFFIX)
    return f"{entity}/process_hour={name[:13]}/{name}.ndjson"
