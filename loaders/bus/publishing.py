"""Publish beside a load: a thread sends, so that a bus that is down delays nothing."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import duckdb

from larder.errors import BusError, LarderError, WarehouseBusyError
from larder.settings import Settings
from loaders.bus.filling import fill
from loaders.bus.outbox import begin_outbox, read_backlog
from loaders.bus.sending import LONGEST_PAUSE_SECONDS, Round, Sender

# When a command has ended otherwise, a bus that works may take what waits for so long; one that
# does not is only tried so often.
LINGER_SECONDS = 60.0
LAST_TRIES = 3
LAST_PAUSE_SECONDS = 1.0
# Where there is nothing to do, the outbox is looked at, and the backlog told, as often as that.
LOOK_SECONDS = 60.0
KEPT = "What waits in the outbox goes when it works again; nothing is lost."


@dataclass(frozen=True)
class BusSummary:
    """Say what went over the bus, how much waits, and why; `failure` is null where all is well."""

    sent: int = 0
    set_aside: int = 0
    waiting: int = 0
    failure: str | None = None


class Publisher:
    """Fill the outbox after each load, and send what waits meanwhile.

    Nothing that goes wrong with the bus is an error of the load: `say` takes a line when it begins
    to fail, and one when it works again. `changed` is called when there is something new to tell of
    the backlog, now and then.

    Raises:
        BusError: there is no outbox, and none can be made.
    """

    def __init__(
        self,
        settings: Settings,
        now: Callable[[], datetime],
        say: Callable[[str], None] = lambda _: None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        begin_outbox(settings)
        self._settings = settings
        self._now = now
        self._say = say
        self._changed = changed
        self._sent = self._set_aside = 0
        self._failure: str | None = None
        self._bug: BaseException | None = None
        self._has_work, self._is_closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="bus", daemon=True)
        self._thread.start()

    def publish(self) -> None:
        """Queue what was loaded, and let it be sent; a bug of what sends is raised here."""
        if self._bug is not None:
            raise self._bug
        try:
            fill(self._settings, self._now)
        except (LarderError, duckdb.Error, OSError) as error:
            self._fail(
                str(error)
                if isinstance(error, LarderError)
                else f"What was loaded is not in the outbox of the bus yet ({error})."
            )
        self._has_work.set()

    def close(self) -> BusSummary:
        """Let a bus that works take what waits, and say how it went."""
        self._is_closing.set()
        self._has_work.set()
        self._thread.join()
        if self._bug is not None:
            raise self._bug
        try:
            waiting = read_backlog(self._settings).waiting
        except BusError as error:
            waiting, self._failure = 0, str(error)
        return BusSummary(self._sent, self._set_aside, waiting, self._failure)

    def _run(self) -> None:
        try:
            self._send_until_closed()
        except BaseException as error:
            self._bug = error

    def _send_until_closed(self) -> None:
        sender, tries, until = Sender(self._settings, self._now), 0, math.inf
        told_at = -math.inf
        told: tuple[int, str | None] = (0, None)
        while True:
            self._has_work.clear()
            if self._is_closing.is_set():
                until = min(until, time.monotonic() + LINGER_SECONDS)
            done = self._send(sender)
            is_closing = until < math.inf
            tries = tries + 1 if is_closing and not done.sent else 0
            if is_closing and (
                done.next_seconds is None or tries >= LAST_TRIES or time.monotonic() >= until
            ):
                return
            stands = self._sent, self._failure
            if stands != told and time.monotonic() - told_at >= LOOK_SECONDS:
                self._changed()
                told_at, told = time.monotonic(), stands
            if done.next_seconds is None:  # another process may have left something
                self._has_work.wait(LOOK_SECONDS)
            elif is_closing:
                time.sleep(min(done.next_seconds, LAST_PAUSE_SECONDS))
            else:  # what is new does not shorten the wait for a bus that is down
                self._is_closing.wait(done.next_seconds)

    def _send(self, sender: Sender) -> Round:
        try:
            done = sender.send()
        except (BusError, WarehouseBusyError) as error:
            done = Round(failure=str(error), next_seconds=LONGEST_PAUSE_SECONDS)
        self._sent += done.sent
        self._set_aside += done.set_aside
        if done.sent:
            self._work()
        elif done.failure:
            self._fail(done.failure)
        return done

    def _fail(self, failure: str) -> None:
        if self._failure is None:
            self._say(f"{failure} {KEPT}")
        self._failure = failure

    def _work(self) -> None:
        if self._failure is not None:
            self._say("The bus takes messages again.")
        self._failure = None
