"""Signals that ask a long-running command to end: a wait ends at once, work is finished first."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

T = TypeVar("T")


class StoppedError(BaseException):
    """A wait was ended; no `except Exception` on the way may take it for its own."""


class Stopping:
    """Say whether a signal has asked to end."""

    def __init__(self) -> None:
        self.is_asked = False
        self._is_waiting = False

    def __call__(self) -> bool:
        return self.is_asked

    def handle(self, _signal: int, _frame: FrameType | None) -> None:
        """Take a signal; a second one while work is being finished interrupts it."""
        was_asked, self.is_asked = self.is_asked, True
        if self._is_waiting:
            raise StoppedError
        if was_asked:
            raise KeyboardInterrupt

    def ask(self) -> None:
        """Ask to end from another thread; a wait goes on until its end."""
        self.is_asked = True

    def wait_for(self, action: Callable[[], T]) -> T | None:
        """Do what only waits; null once it is asked to end."""
        try:
            self._is_waiting = True
            return None if self.is_asked else action()
        except StoppedError:
            return None
        finally:
            self._is_waiting = False

    def sleep(self, seconds: float) -> None:
        """Sleep until then, or until it is asked to end."""
        self.wait_for(lambda: time.sleep(seconds))


@contextmanager
def stopping_on_signals() -> Iterator[Stopping]:
    """Let SIGTERM and SIGINT ask to end, and end the block where they end a wait."""
    stopping = Stopping()
    signals = (signal.SIGTERM, signal.SIGINT)
    before = {one: signal.signal(one, stopping.handle) for one in signals}
    try:
        yield stopping
    except StoppedError:
        return
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
