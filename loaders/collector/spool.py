"""The spool: what is answered with 200 is durable in it first, then moves on to the landing zone.

One thread writes; while it waits for the disk, requests gather, and the next write takes all of
them (group commit). So a sync is paid for by everybody who waits for it. Where fewer have gathered
than the last sync was for, the others are waited for a moment: who was answered sends again.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, SimpleQueue

import msgspec

from loaders.collector.bodies import Received
from loaders.collector.disk import Disk
from loaders.collector.frames import encode
from loaders.collector.lander import Lander
from loaders.collector.measures import Measures
from loaders.collector.segments import Segment
from loaders.collector.signatures import Claim, SigningIds

# how long those who are there wait for as many as came the last time, and how much is enough
GATHER_SECONDS = 0.002
GATHER_BYTES = 64 * 1024
# A segment becomes landing files when it is so large, if it was not held long enough before.
SEGMENT_BYTES = 32 * 1024 * 1024
QUEUE_BYTES = 64 * 1024 * 1024
RESERVE_BYTES = 256 * 1024 * 1024

Trouble = tuple[type[Exception], int | None]
"""A kind of failure, and its number."""


class SpoolFullError(Exception):
    """Nothing more can be taken now: the queue or the disk is full, or the disk failed."""


# anything else is a fault of ours
DISK_ERRORS = (SpoolFullError, OSError, sqlite3.Error)


class ClaimedError(Exception):
    """The signing id has come before, with another body."""


class Waiting(msgspec.Struct, gc=False):
    """Lines to be made durable, and who is told, with null or what kept them from it."""

    received: Received
    claim: Claim | None
    done: Callable[[Exception | None], None]
    # bytes of the lines
    size: int = 0

    def __post_init__(self) -> None:
        self.size = sum(map(len, self.received.lines))


class Spool:
    """Take lines from one event loop and make them durable.

    The lander is given each segment some `hold_seconds` after its first line.
    """

    def __init__(
        self,
        folder: Path,
        signing_ids: SigningIds,
        lander: Lander,
        hold_seconds: float,
        measures: Measures,
        disk: Disk,
        log: logging.Logger,
    ) -> None:
        self._folder = folder
        self._signing_ids = signing_ids
        self._lander = lander
        self._hold_seconds = hold_seconds
        self._measures = measures
        self._disk = disk
        self._log = log
        # what keeps lines from being durable, as far as the log has it
        self._trouble: Trouble | None = None
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Waiting] = deque()
        # a token for each group that is to be committed
        self._groups: SimpleQueue[None] = SimpleQueue()
        self._is_committing = self._is_gathered = False
        self._gathered_last = 0
        self._timer: asyncio.TimerHandle | None = None
        self._is_closing = False
        self._segment: Segment | None = None
        self._opened = 0.0
        self.queued_bytes = 0
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._thread = threading.Thread(target=self._run, name="spool")
        self._thread.start()

    def put(self, waiting: Waiting) -> None:
        """Queue lines; who waits is told in the event loop when they are durable.

        Raises:
            SpoolFullError: they are not kept; the sender has to come again.
        """
        if self._is_closing or self.queued_bytes >= QUEUE_BYTES:
            raise SpoolFullError("the queue is full")
        self.queued_bytes += waiting.size
        self._queue.append(waiting)
        if not self._is_committing:
            self._gather()

    def _gather(self) -> None:
        if len(self._queue) < self._gathered_last and self.queued_bytes < GATHER_BYTES:
            self._timer = self._timer or self._loop.call_later(GATHER_SECONDS, self._begin_commit)
        elif not self._is_gathered:
            # in the loop's next turn, so that all that came in this one are of the group
            self._is_gathered = True
            self._loop.call_soon(self._begin_commit)

    def _begin_commit(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer, self._is_gathered = None, False
        if not self._is_committing:
            self._is_committing = True
            self._groups.put(None)

    def state(self) -> str:
        """Say how it stands: ready, full (the disk has its reserve left), or broken (see the log).

        What is taken while nothing lands would only be found at the next start.
        """
        if not (self._thread.is_alive() and self._lander.is_alive()):
            return "broken"
        try:
            has_room = self._disk.free_bytes(self._folder) > RESERVE_BYTES
        except OSError:
            return "broken"
        return "ready" if has_room else "full"

    def close(self) -> None:
        """Commit what is queued, close the segment, and take nothing more."""
        self._is_closing = True
        self._groups.put(None)
        self._thread.join()

    def _run(self) -> None:
        is_ending = False
        while not is_ending:
            with suppress(Empty):
                self._groups.get(timeout=self._seconds_left())
                is_ending = self._is_closing
                if group := self._take():
                    self._commit(group)
            if self._is_due() or is_ending:
                self._give_segment_away()

    def _take(self) -> list[Waiting]:
        """Take all that waits now."""
        return [self._queue.popleft() for _ in range(len(self._queue))]

    def _seconds_left(self) -> float | None:
        if self._segment is None:
            return None
        return max(self._opened + self._hold_seconds - time.monotonic(), 0.0)

    def _is_due(self) -> bool:
        return self._segment is not None and (
            self._segment.size >= SEGMENT_BYTES
            or time.monotonic() - self._opened >= self._hold_seconds
        )

    def _give_segment_away(self) -> None:
        if self._segment is not None:
            self._lander.give(self._segment)
            self._segment = None

    def _commit(self, group: list[Waiting]) -> None:
        started = time.monotonic()
        outcomes: list[Exception | None] = [None] * len(group)
        try:
            claims = [one.claim for one in group if one.claim]
            refused = self._signing_ids.refused(claims) if claims else frozenset()
            if refused:
                outcomes = [ClaimedError() if one.claim in refused else None for one in group]
            kept = [one.received for one, out in zip(group, outcomes, strict=True) if out is None]
            if kept:
                self._append(_frames(kept))
                self._tell_log(None)
        except Exception as error:
            self._tell_log(error)
            self._measures.commit_failures.inc()
            why = error if isinstance(error, SpoolFullError) else SpoolFullError(_told(error))
            outcomes = [out or why for out in outcomes]
        self._measures.commit_seconds.observe(time.monotonic() - started)
        with suppress(RuntimeError):  # the loop is gone: nobody waits any more
            self._loop.call_soon_threadsafe(self._tell, group, outcomes)

    def _tell_log(self, error: Exception | None) -> None:
        """Say once that a trouble has begun, and that it is over."""
        trouble = None if error is None else _kind(error)
        if trouble == self._trouble:
            return
        self._trouble = trouble
        if error is None:
            self._log.info("kept again")
        else:
            fault = None if isinstance(error, DISK_ERRORS) else error
            self._log.error("nothing is kept", extra={"why": str(error)}, exc_info=fault)

    def _append(self, data: bytes) -> None:
        if self._disk.free_bytes(self._folder) < RESERVE_BYTES + len(data):
            raise SpoolFullError("the disk is full")
        if self._segment is None:
            self._segment = Segment(self._folder, datetime.now(UTC), self._disk)
            self._opened = time.monotonic()
        try:
            self._segment.append(data)
        except OSError:
            self._give_segment_away()  # nothing may be appended to it any more
            raise

    def _tell(self, group: list[Waiting], outcomes: list[Exception | None]) -> None:
        self._is_committing, self._gathered_last = False, len(group)
        if self._queue:
            self._gather()
        self.queued_bytes -= sum(one.size for one in group)
        accepted: Counter[str] = Counter()
        rejected: Counter[tuple[str, str]] = Counter()
        for one, outcome in zip(group, outcomes, strict=True):
            if outcome is None:
                received = one.received
                accepted[received.entity] += received.accepted
                for reason in received.reasons:
                    rejected[received.entity, reason] += 1
            one.done(outcome)
        for entity, records in accepted.items():
            self._measures.accepted.labels(entity).inc(records)
        for labels, records in rejected.items():
            self._measures.rejected.labels(*labels).inc(records)


def _kind(error: Exception) -> Trouble:
    """Give what is the same for each failure of one trouble; its words may name a new file."""
    number = getattr(error, "errno", None) or getattr(error, "sqlite_errorcode", None)
    return type(error), number


def _told(error: Exception) -> str:
    """Say to a sender what has failed, who is to know neither files nor settings of ours."""
    return "the disk fails" if isinstance(error, DISK_ERRORS) else "the collector has failed"


def _frames(group: list[Received]) -> bytes:
    """Give a frame for each entity of a group."""
    lines: defaultdict[str, list[bytes]] = defaultdict(list)
    for received in group:
        lines[received.entity] += received.lines
    now = time.time_ns() // 1000
    return b"".join(
        encode(entity, now, b"\n".join([*of_it, b""])) for entity, of_it in lines.items()
    )
