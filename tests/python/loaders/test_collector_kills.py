"""Thirty `kill -9` under load: what was acknowledged is in raw or the dead letters, once."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

from collecting import KEY, SECRET, RunningCollector, menu_event, signed, trip_event
from kept_events import TRIP_EVENTS, keys_in_dead_letters, keys_in_raw, wait_until_landed

MENU, WEBHOOK = "/v1/menu/events", "/v1/trips/webhook"
KILLS = 30
# every tenth event has all its fields, so that it is acknowledged, and a moment that no load takes
REJECTED_EVERY = 10
KEYS = {"LARDER_API_KEYS": f"{KEY}:*", "LARDER_RADAR_SECRET": SECRET}


@dataclass
class Fire:
    """Two collectors on one home, and what they have acknowledged while they were killed."""

    home: Path
    ended: threading.Event = field(default_factory=threading.Event)
    taken: list[str] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)
    # webhooks that were acknowledged, and how often each was tried
    tries: Counter[str] = field(default_factory=Counter)
    delivered: list[str] = field(default_factory=list)
    answers: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.collectors = [RunningCollector(self.home, KEYS) for _ in range(2)]

    def send_clicks(self, client: RunningCollector, sender: int) -> None:
        """Send menu events; what is not acknowledged is not sent again."""
        number = 0
        while not self.ended.is_set():
            number += 1
            is_bad = number % REJECTED_EVERY == 0
            key = f"{sender}-{number}"
            changes = {"occurred_at": "never"} if is_bad else {}
            try:
                if client.post(MENU, menu_event(number, event_id=key, **changes))[0] == 200:
                    (self.rejected if is_bad else self.taken).append(key)
            except (OSError, HTTPException):
                time.sleep(0.01)

    def send_webhooks(self, client: RunningCollector, sender: int) -> None:
        """Send signed webhooks as the provider does: again, with its signature, until it is 200."""
        number = sender * 1_000_000
        while not self.ended.is_set():
            number += 1
            key = f"trip-event-{number}"
            while not self.ended.is_set():
                self.tries[key] += 1
                try:
                    status = client.post(WEBHOOK, trip_event(number), signed(key))[0]
                except (OSError, HTTPException):
                    time.sleep(0.01)
                    continue
                self.answers[status] += 1
                if status == 200:
                    self.delivered.append(key)
                    break

    def burn(self) -> None:
        """Kill the collectors in turns while six send clicks and two webhooks."""
        for collector in self.collectors:
            collector.start()
        senders: list[Callable[[RunningCollector, int], None]] = [self.send_clicks] * 6
        senders += [self.send_webhooks] * 2
        clients = [
            RunningCollector(self.home, port=self.collectors[number % 2].port)
            for number in range(len(senders))
        ]
        threads = [
            threading.Thread(target=send, args=(clients[number], number))
            for number, send in enumerate(senders)
        ]
        for thread in threads:
            thread.start()
        pauses = random.Random(5)
        for kill in range(KILLS):
            collector = self.collectors[kill % 2]
            time.sleep(pauses.uniform(0.0, 0.2))
            collector.kill()
            collector.start()
        self.ended.set()
        for thread, client in zip(threads, clients, strict=True):
            thread.join()
            client.hang_up()
        wait_until_landed(self.home)


def test_thirty_kills_of_two_collectors_on_one_spool_lose_and_double_nothing(
    tmp_path: Path,
) -> None:
    fire = Fire(tmp_path / "home")
    fire.burn()
    # an acknowledged signing id is still bound to its body, whoever was killed since
    other = trip_event(1, type="user.stopped_trip")
    assert fire.collectors[0].post(WEBHOOK, other, signed(fire.delivered[0]))[0] == 401
    for collector in fire.collectors:
        collector.kill()

    assert min(len(fire.taken), len(fire.rejected) * REJECTED_EVERY) > 20 * KILLS
    found, rejected = keys_in_raw(fire.home), keys_in_dead_letters(fire.home)
    assert {key: found[key] for key in fire.taken} == dict.fromkeys(fire.taken, 1)
    assert {key: rejected[key] for key in fire.rejected} == dict.fromkeys(fire.rejected, 1)
    assert not found.keys() & rejected.keys()
    assert max((found + rejected).values()) == 1  # nor is anything else there twice

    # a retry after a kill is no other body's; it may bring a second copy, told by its content
    assert set(fire.answers) == {200}, fire.answers
    assert sum(fire.tries.values()) > len(fire.tries), "no webhook was under fire"
    copies = keys_in_raw(fire.home, TRIP_EVENTS)
    assert all(1 <= copies[key] <= fire.tries[key] for key in fire.delivered)
    assert copies.keys() <= fire.tries.keys()
    assert set(keys_in_raw(fire.home, TRIP_EVENTS, distinct=True).values()) == {1}
