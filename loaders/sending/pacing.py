"""Send each record when its moment has come, several at a time where several are due."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final, NamedTuple

from larder.stopping import Stopping
from loaders.collector.bodies import MAX_BODY_BYTES
from loaders.entities import Entity
from loaders.sending.client import Answer, Client

MOST_LINES: Final = 1_000
_SHORTEST_SLEEP_SECONDS: Final = 0.02


class Due(NamedTuple):
    """Hold a record, and how many seconds after the start it is to be sent."""

    seconds: float
    entity: Entity
    line: bytes


@dataclass
class Sent:
    """Count what was sent of an entity, and what the collector said to it."""

    records: int = 0
    accepted: int = 0
    rejected: int = 0


@dataclass(frozen=True)
class Sending:
    """Say what was sent, entity by entity, what was left out, and whether it was all."""

    sent: dict[str, Sent]
    left_out: int
    is_whole: bool


@dataclass
class Sender:
    """Send what is due, until all is sent or it is asked to end.

    What is counted has been acknowledged.
    """

    client: Client
    stopping: Stopping = field(default_factory=Stopping)
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] | None = None
    sent: dict[str, Sent] = field(default_factory=dict)

    def send(self, dues: Iterable[Due]) -> bool:
        """Send records in their order, none before it is due; tell whether all were sent.

        Raises:
            SendingError: the collector refuses them, or has not answered for minutes.
        """
        start = self.clock()
        for batch in _batches(dues, lambda: self.clock() - start, self._wait):
            # records of one entity keep their order
            for entity, group in groupby(
                sorted(batch, key=lambda due: due.entity.path), key=lambda due: due.entity
            ):
                if not self._post(entity, [due.line for due in group]):
                    return False
        return not self.stopping()

    def _wait(self, seconds: float) -> bool:
        if seconds > 0:
            (self.sleep or self.stopping.sleep)(seconds)
        return not self.stopping()

    def _post(self, entity: Entity, lines: list[bytes]) -> bool:
        answer: Answer | None = self.stopping.wait_for(lambda: self.client.send(entity, lines))
        if answer is None:
            return False
        counts = self.sent.setdefault(entity.path, Sent())
        counts.records += len(lines)
        counts.accepted += answer.accepted
        counts.rejected += answer.rejected
        return True


def _batches(
    dues: Iterable[Due], elapsed: Callable[[], float], wait: Callable[[float], bool]
) -> Iterator[list[Due]]:
    """Put together what is due at the same time, as much as a body may hold.

    Ends early when `wait` says so.
    """
    batch: list[Due] = []
    size = 0
    for due in dues:
        is_full = len(batch) == MOST_LINES or size + len(due.line) + 1 > MAX_BODY_BYTES
        if batch and (is_full or due.seconds > elapsed()):
            yield batch
            batch, size = [], 0
        while (ahead := due.seconds - elapsed()) > 0:
            if not wait(max(ahead, _SHORTEST_SLEEP_SECONDS)):
                return
        batch.append(due)
        size += len(due.line) + 1
    if batch and wait(0.0):
        yield batch
