"""From the outbox to the bus, in rounds: the first waiting message of each trip, together.

Kinesis takes the records of a request in no order, so a trip has at most one of them in a request,
and its next one only goes when that is known to be there. What is not taken holds back its own trip
and no other.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from larder.errors import BusError
from larder.settings import Settings
from loaders.bus.buses import Bus, Limits, Record, open_bus
from loaders.bus.outbox import Outbox, Waiting, bus_lock, open_outbox

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 30.0


@dataclass(frozen=True)
class Round:
    """Say what a round did, and in how many seconds the next may begin.

    `failure` says why something was not taken; `next_seconds` is null where nothing waits.
    """

    sent: int = 0
    set_aside: int = 0
    failure: str | None = None
    next_seconds: float | None = None


@dataclass
class _Choice:
    batch: list[Waiting]
    too_large: list[Waiting]
    next_due: float | None


class Sender:
    """Send what waits, a round at a time; remembers what has to wait for how long."""

    def __init__(
        self,
        settings: Settings,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
        chance: random.Random | None = None,
    ) -> None:
        self._settings = settings
        self._now = now
        self._clock = clock
        self._chance = chance or random.Random()  # noqa: S311
        self._bus: Bus | None = None
        self._after = ""
        # rounds in a row in which nothing was taken; by trip: failures in a row, and until when
        self._failures = 0
        self._held: dict[str, tuple[int, float]] = {}

    def send(self) -> Round:
        """Do a round.

        Raises:
            BusError: the outbox cannot be used.
            WarehouseBusyError: another process has been sending for very long.
        """
        with bus_lock(self._settings), open_outbox(self._settings) as outbox:
            if not outbox.waiting():
                return Round()
            try:
                self._bus = self._bus or open_bus(self._settings)
                choice = self._choose(outbox, self._bus.limits)
                records = [Record(one.partition_key, one.body) for one in choice.batch]
                outcomes = self._bus.put(records) if records else []
            except BusError as error:
                return self._refused(outbox, str(error))
            return self._taken(outbox, choice, outcomes)

    def _choose(self, outbox: Outbox, limits: Limits) -> _Choice:
        """Choose what is due, as much as a request may hold; go on after the last trip."""
        choice = _Choice([], [], None)
        size, now = 0, self._clock()
        for one in outbox.heads(self._after):
            due = self._held.get(one.partition_key, (0, now))[1]
            if due > now:
                choice.next_due = min(choice.next_due or due, due)
                continue
            record = Record(one.partition_key, one.body)
            if record.size > limits.record_bytes:
                choice.too_large.append(one)
                continue
            size += record.size
            if len(choice.batch) == limits.records or size > limits.request_bytes:
                break
            choice.batch.append(one)
        if choice.batch:
            self._after = choice.batch[-1].partition_key
        return choice

    def _refused(self, outbox: Outbox, why: str) -> Round:
        """Keep that nothing was taken, and wait longer each time."""
        self._failures += 1
        with outbox.transaction():
            outbox.note_failures(1, why, self._now())
        return Round(failure=why, next_seconds=self._pause(self._failures))

    def _taken(self, outbox: Outbox, choice: _Choice, outcomes: list[str | None]) -> Round:
        """Take out what the bus has, and hold back the trips of what it has not."""
        sent, codes = [], []
        for one, code in zip(choice.batch, outcomes, strict=True):
            if code is None:
                sent.append(one)
                self._held.pop(one.partition_key, None)
            else:
                codes.append(code)
                failures = self._held.get(one.partition_key, (0, 0.0))[0] + 1
                self._held[one.partition_key] = failures, self._clock() + self._pause(failures)
        failure = None
        if codes:
            why = ", ".join(sorted(set(codes)))
            failure = f"The bus has not taken {len(codes)} of {len(outcomes)} messages ({why})."
        with outbox.transaction():
            if sent:
                outbox.note_sent(sent, self._now())
            if choice.too_large:
                outbox.set_aside(choice.too_large, "too large for the bus", self._now())
            if failure:
                outbox.note_failures(len(codes), failure, self._now())
            is_left = outbox.waiting() > 0
        self._failures = self._failures + 1 if codes and not sent else 0
        pause = self._pause(self._failures) if self._failures else 0.0
        if not choice.batch and not choice.too_large and choice.next_due is not None:
            pause = max(choice.next_due - self._clock(), 0.0)
        return Round(len(sent), len(choice.too_large), failure, pause if is_left else None)

    def _pause(self, failures: int) -> float:
        """Return the seconds to wait: half of them fixed, half by chance.

        Source: M. Brooker, Exponential Backoff And Jitter, AWS Architecture Blog, 2015 ("equal
        jitter").
        """
        longest = min(FIRST_PAUSE_SECONDS * 2 ** min(failures - 1, 20), LONGEST_PAUSE_SECONDS)
        return float(longest * self._chance.uniform(0.5, 1.0))
