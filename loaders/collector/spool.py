"""The spool: what is answered with 200 is durable in it first, then moves on to the landing zone.

One thread writes; while it waits for the disk, requests gather, and the next write takes all of
them (group commit). So a sync is paid for by everybody who waits for it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from loaders.collector.disk import Disk
from loaders.collector.frames import encode
from loaders.collector.measures import Measures
from loaders.collector.segments import Segment
from loaders.collector.signatures import Claim, SigningIds

# A segment becomes landing files when it is so old, or so large.
SEGMENT_SECONDS = 2.0
SEGMENT_BYTES = 32 * 1024 * 1024
QUEUE_BYTES = 64 * 1024 * 1024
RESERVE_BYTES = 256 * 1024 * 1024


class SpoolFullError(Exception):
    """Nothing more can be taken now: the queue or the disk is full, or the disk failed."""


class ClaimedError(Exception):
    """The signing id has come before, with another body."""


@dataclass(slots=True)
class _Waiting:
    frame: bytes
    claim: Claim | None
    done: asyncio.Future[None]


class Spool:
    """Take frames from one event loop and make them durable.

    `close_segment` is called, in the writing thread, with each segment that is to land.
    """

    def __init__(
        self,
        folder: Path,
        signing_ids: SigningIds,
        close_segment: Callable[[Segment], None],
        measures: Measures,
        disk: Disk,
        *,
        queue_bytes: int = QUEUE_BYTES,
        reserve_bytes: int = RESERVE_BYTES,
    ) -> None:
        self._folder = folder
        self._signing_ids = signing_ids
        self._close_segment = close_segment
        self._measures = measures
        self._disk = disk
        self._most_queued = queue_bytes
        self._reserve = reserve_bytes
        self._loop = asyncio.get_running_loop()
        self._changed = threading.Condition()
        self._queue: list[_Waiting] = []
        self._is_closing = False
        self._segment: Segment | None = None
        self._opened = 0.0
        self.queued_bytes = 0
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._thread = threading.Thread(target=self._run, name="spool")
        self._thread.start()

    async def append(self, entity: str, lines: list[bytes], claim: Claim | None = None) -> None:
        """Return when these lines are durable; safe to be cancelled, then it is not known.

        Raises:
            SpoolFullError: they are not kept; the sender has to come again.
            ClaimedError: they are not kept; the claim's signing id belongs to another body.
        """
        if self._is_closing or self.queued_bytes >= self._most_queued:
            raise SpoolFullError("the queue is full")
        frame = encode(entity, time.time_ns() // 1000, b"\n".join([*lines, b""]))
        waiting = _Waiting(frame, claim, self._loop.create_future())
        self.queued_bytes += len(frame)
        with self._changed:
            self._queue.append(waiting)
            self._changed.notify()
        await waiting.done

    def has_room(self) -> bool:
        """Tell whether the disk has more than its reserve."""
        try:
            return self._disk.free_bytes(self._folder) > self._reserve
        except OSError:
            return False

    def close(self) -> None:
        """Commit what is queued, close the segment, and take nothing more."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._queue or self._is_closing or self._is_due()):
                    self._changed.wait(self._seconds_left())
                group, self._queue = self._queue, []
            if group:
                self._commit(group)
            if self._is_due() or (self._is_closing and not self._queue):
                self._give_segment_away()
            if self._is_closing and not self._queue:
                return

    def _seconds_left(self) -> float | None:
        if self._segment is None:
            return None
        return max(self._opened + SEGMENT_SECONDS - time.monotonic(), 0.0)

    def _is_due(self) -> bool:
        return self._segment is not None and (
            self._segment.size >= SEGMENT_BYTES
            or time.monotonic() - self._opened >= SEGMENT_SECONDS
        )

    def _give_segment_away(self) -> None:
        if self._segment is not None:
            self._close_segment(self._segment)
            self._segment = None

    def _commit(self, group: list[_Waiting]) -> None:
        started = time.monotonic()
        outcomes: list[Exception | None] = [None] * len(group)
        try:
            claims = [one.claim for one in group if one.claim]
            refused = self._signing_ids.refused(claims) if claims else frozenset()
            for number, one in enumerate(group):
                if one.claim in refused:
                    outcomes[number] = ClaimedError()
            kept = [one.frame for one, out in zip(group, outcomes, strict=True) if out is None]
            if kept:
                self._append(b"".join(kept))
        except Exception as error:
            self._measures.commit_failures.inc()
            outcomes = [out or SpoolFullError(str(error)) for out in outcomes]
        self._measures.commit_seconds.observe(time.monotonic() - started)
        with suppress(RuntimeError):  # the loop is gone: nobody waits any more
            self._loop.call_soon_threadsafe(self._answer, group, outcomes)

    def _append(self, data: bytes) -> None:
        if self._disk.free_bytes(self._folder) < self._reserve + len(data):
            raise SpoolFullError("the disk is full")
        if self._segment is None:
            self._segment = Segment(self._folder, datetime.now(UTC), self._disk)
            self._opened = time.monotonic()
        try:
            self._segment.append(data)
        except OSError:
            self._give_segment_away()
            raise

    def _answer(self, group: list[_Waiting], outcomes: list[Exception | None]) -> None:
        for one, outcome in zip(group, outcomes, strict=True):
            self.queued_bytes -= len(one.frame)
            if one.done.done():
                continue
            if outcome is None:
                one.done.set_result(None)
            else:
                one.done.set_exception(outcome)
