"""Load files as they arrive: a folder is looked at every second, S3 tells through a queue.

Notifications may be lost, and a queue may be set up after the first file: all is listed at the
start and every few minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime

from larder.errors import (
    LandingUnavailableError,
    SettingsError,
    WarehouseBusyError,
    WarehouseError,
)
from larder.settings import Settings
from larder.stopping import Stopping
from loaders.landing import LandingFile
from loaders.ledger import Ledger
from loaders.load import LoadSummary, load
from loaders.zones import Zone, open_zone

POLL_SECONDS = 1.0
# Notifications may be lost: all is listed as often as that; a list of 1,000 objects is a request.
RELIST_SECONDS = 300.0
RELIST_WITHOUT_QUEUE_SECONDS = 60.0
# A look at a folder of very many files takes at most this share of the time.
MOST_OF_THE_TIME = 0.1
# A file that could not be loaded, and has not changed, is tried again only then.
RETRY_SECONDS = 5.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0

Say = Callable[[str], None]
Stamp = tuple[int, int]


def follow(
    settings: Settings,
    now: Callable[[], datetime],
    say: Say,
    stopping: Stopping,
    send: Callable[[], None] = lambda: None,
) -> None:
    """Load what is there, then what arrives, until `stopping`; `say` takes a line for each load.

    `send` is called after each load of something, and again after the next one where it failed.

    Raises:
        SettingsError: there is a queue, but the landing zone is a folder.
        LandingError: the landing zone or the queue cannot be read, and waiting would not help.
        KeyMismatchError: the vault cannot be used.
    """
    if settings.landing_queue and settings.landing_bucket is None:
        raise SettingsError(
            "LARDER_LANDING_QUEUE is set, but LARDER_LANDING is no bucket that could notify it. "
            "Unset one, or let LARDER_LANDING be s3://bucket/prefix."
        )
    follower = _Follower(settings, now, say, stopping, send)
    if settings.landing_bucket is None:
        follower.follow_folder()
    elif settings.landing_queue:
        follower.follow_queue()
    else:
        say(
            "LARDER_LANDING_QUEUE is not set: the bucket is listed every "
            f"{RELIST_WITHOUT_QUEUE_SECONDS:g} s."
        )
        follower.follow_listings()


@dataclass
class _Follower:
    settings: Settings
    now: Callable[[], datetime]
    say: Say
    stopping: Stopping
    send: Callable[[], None]
    pause: float = FIRST_PAUSE_SECONDS
    # files that could not be loaded, as they were, and when that was
    left: dict[str, tuple[Stamp, float]] = field(default_factory=dict)

    def follow_folder(self) -> None:
        self._load()
        ledger = Ledger(self.settings.raw_folder).read()
        while not self.stopping():
            started = time.monotonic()
            with open_zone(self.settings) as zone:
                pending = self._pending(zone, ledger)
            taken = time.monotonic() - started
            if pending:
                summary = self._load()
                # whoever erases or loads beside us has changed it, too
                ledger = Ledger(self.settings.raw_folder).read()
                tried = time.monotonic()
                left = summary.left if summary else set()
                self.left = {
                    file.relative: (_stamp(file), tried)
                    for file in pending
                    if file.relative in left
                }
            self.stopping.sleep(max(POLL_SECONDS, taken / MOST_OF_THE_TIME))

    def _pending(self, zone: Zone, ledger: Ledger) -> list[LandingFile]:
        """Return what is not loaded, if any of it is to be tried now; no content is looked at."""
        pending = [file for file in zone.find() if not ledger.knows(file)]
        return pending if any(map(self._is_due, pending)) else []

    def _is_due(self, file: LandingFile) -> bool:
        stamp, tried = self.left.get(file.relative, ((-1, -1), 0.0))
        return stamp != _stamp(file) or time.monotonic() - tried >= RETRY_SECONDS

    def follow_listings(self) -> None:
        while not self.stopping():
            self._load()
            self.stopping.sleep(RELIST_WITHOUT_QUEUE_SECONDS)

    def follow_queue(self) -> None:
        from loaders.s3.queue import open_queue  # the SDK takes long to import

        with open_queue(self.settings, self.say) as queue:
            listed = -RELIST_SECONDS
            while not self.stopping():
                if time.monotonic() - listed >= RELIST_SECONDS and self._load():
                    listed = time.monotonic()
                try:
                    messages = self.stopping.wait_for(queue.receive) or []
                except LandingUnavailableError as error:
                    self._wait_after(error)
                    continue
                names = {name for message in messages for name in message.names}
                summary = self._load(names) if names else LoadSummary()
                if summary is not None:
                    # what a load has not covered stays in the queue, and comes again
                    queue.delete(one for one in messages if not one.names & summary.left)

    def _load(self, only: Collection[str] | None = None) -> LoadSummary | None:
        """Load and say it in a line; null where that has to be tried again later."""
        started = time.monotonic()
        try:
            summary = load(self.settings, self.now, only=only, is_stopping=self.stopping)
        except (LandingUnavailableError, WarehouseBusyError) as error:
            self._wait_after(error)
            return None
        self.pause = FIRST_PAUSE_SECONDS
        if summary.files or summary.unread:
            self.say(describe_load(summary, time.monotonic() - started))
            self._send()
        return summary

    def _send(self) -> None:
        try:
            self.send()
        except WarehouseError as error:  # what is loaded stays, and goes with the next load
            self.say(str(error))

    def _wait_after(self, error: Exception) -> None:
        self.say(f"{error} Trying again in {self.pause:g} s.")
        self.stopping.sleep(self.pause)
        self.pause = min(2 * self.pause, LONGEST_PAUSE_SECONDS)


def _stamp(file: LandingFile) -> Stamp:
    return file.size, file.modified_ns


def describe_load(summary: LoadSummary, seconds: float) -> str:
    """Say in one line what a load did."""
    entities = {path: one for path, one in sorted(summary.entities.items()) if one.files}
    records = sum(one.records for one in entities.values())
    rejected = sum(one.rejected for one in entities.values())
    names = ", ".join(f"{path} {one.files:,}" for path, one in entities.items())
    parts = [
        f"{summary.files:,} files loaded{f' ({names})' if names else ''}",
        f"{records:,} records",
        f"{rejected:,} rejected",
    ]
    if summary.unread:
        first = summary.unread[0]
        parts.append(f"{len(summary.unread):,} not read ({first.relative}: {first.why})")
    return f"{', '.join(parts)}, {seconds:.1f} s"
