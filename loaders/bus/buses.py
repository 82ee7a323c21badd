"""Where messages go: a stream of Kinesis, or, without a setting, nowhere but this process."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from larder.settings import KINESIS_SCHEME, Settings

# What a page that has just been opened is shown, and how far a slow reader may fall behind.
KEPT_MESSAGES = 1_000


@dataclass(frozen=True)
class Limits:
    """Say how much a request and a message may be; bytes with those of the partition key."""

    records: int
    request_bytes: int
    record_bytes: int


@dataclass(frozen=True)
class Record:
    """Hold a message as a bus takes it."""

    partition_key: str
    body: bytes

    @property
    def size(self) -> int:
        """The bytes that count."""
        return len(self.partition_key) + len(self.body)


class Bus(Protocol):
    """Take messages; those of one request in no order, so none of them may be of one trip."""

    limits: Limits

    def put(self, records: Sequence[Record]) -> list[str | None]:
        """Return for each record why it was not taken, or null where it was.

        Raises:
            BusError: none is known to have been taken.
        """


class InProcessBus:
    """Keep the newest messages for readers in the same process, such as a page that shows them.

    Nobody else hears of them, and a process that ends takes them with it.
    """

    limits = Limits(records=500, request_bytes=2**63, record_bytes=2**63)

    def __init__(self, kept: int = KEPT_MESSAGES) -> None:
        self._messages: deque[bytes] = deque(maxlen=kept)
        self._count = 0
        self._is_there = threading.Condition()

    def put(self, records: Sequence[Record]) -> list[str | None]:
        """Take all of them."""
        with self._is_there:
            self._messages.extend(record.body for record in records)
            self._count += len(records)
            self._is_there.notify_all()
        return [None] * len(records)

    def read(self, position: int = 0, wait_seconds: float = 0.0) -> tuple[list[bytes], int]:
        """Return the messages from a position on, and the position after them.

        Waits for one if there is none. Who is slower than `kept` messages misses some, and can
        tell: there are fewer than the positions between.
        """
        with self._is_there:
            self._is_there.wait_for(lambda: self._count > position, wait_seconds)
            missed = self._count - len(self._messages)
            return list(self._messages)[max(position - missed, 0) :], self._count


@cache
def in_process_bus() -> InProcessBus:
    """Return the bus of this process."""
    return InProcessBus()


def open_bus(settings: Settings) -> Bus:
    """Return the bus of the settings.

    Raises:
        BusError: the AWS SDK cannot be used.
    """
    if settings.bus is None:
        return in_process_bus()
    from loaders.bus.kinesis import KinesisBus  # the SDK takes long to import

    return KinesisBus(settings.bus.removeprefix(KINESIS_SCHEME))
