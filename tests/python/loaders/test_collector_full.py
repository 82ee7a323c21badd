"""A full disk, a full queue and a sender that is too fast, as senders see them over HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from collecting import COLLECT, RunningCollector, measured, menu_event, running
from kept_events import keys_in_raw

from loaders.collector.spool import RESERVE_BYTES

MENU = "/v1/menu/events"
PATIENCE_SECONDS = 30.0
QUEUE_BYTES = 10_000
# A disk whose room and speed are what two files say, and a queue that is soon full.
TROUBLED = f"""
import os, time
from pathlib import Path
from loaders.collector import spool
from loaders.collector.disk import Disk

room, stall = Path(os.environ["ROOM"]), Path(os.environ["STALL"])
really_sync, really_free = Disk.sync, Disk.free_bytes


def sync(self, descriptor):
    while stall.exists():
        time.sleep(0.01)
    really_sync(self, descriptor)


Disk.sync = sync
Disk.free_bytes = lambda self, folder: (
    int(room.read_text()) if room.exists() else really_free(self, folder)
)
spool.QUEUE_BYTES = {QUEUE_BYTES}
"""


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """Give the file that says how much room there is."""
    return tmp_path / "room"


@pytest.fixture
def stall(tmp_path: Path) -> Path:
    """Give the file that lets no sync end as long as it is there."""
    return tmp_path / "stall"


@pytest.fixture
def collector(tmp_path: Path, room: Path, stall: Path) -> Iterator[RunningCollector]:
    told = {"ROOM": str(room), "STALL": str(stall)}
    with running(tmp_path / "home", environment=told, code=TROUBLED + COLLECT) as collector:
        yield collector
        stall.unlink(missing_ok=True)


def refused(collector: RunningCollector, reason: str) -> Any:
    return measured(collector, f'larder_collector_refused_requests_total{{reason="{reason}"}}')


def test_a_full_disk_is_told_to_senders_and_to_who_asks_if_it_is_ready(
    collector: RunningCollector, room: Path
) -> None:
    assert collector.post(MENU, menu_event(1))[0] == 200
    room.write_text(str(RESERVE_BYTES - 1))
    assert collector.get("/readyz") == (503, {"status": "full"})
    assert collector.get("/healthz")[0] == 200  # nobody is to restart it for that
    status, content = collector.post(MENU, menu_event(2))
    assert (status, "the disk is full" in content["error"]) == (503, True)
    assert collector.told["retry-after"] == "1"
    assert refused(collector, "full") == 1
    assert measured(collector, "larder_collector_commit_failures_total") == 1
    assert measured(collector, "larder_collector_disk_free_bytes") == RESERVE_BYTES - 1

    room.unlink()  # as whoever makes room does, without a restart
    assert collector.get("/readyz") == (200, {"status": "ready"})
    assert collector.post(MENU, menu_event(2))[0] == 200
    assert collector.post(MENU, menu_event(3))[0] == 200
    collector.kill(15)
    assert keys_in_raw(collector.home) == {"menu-1": 1, "menu-2": 1, "menu-3": 1}


def test_an_event_for_which_the_room_is_just_enough_is_taken(
    collector: RunningCollector, room: Path
) -> None:
    room.write_text(str(RESERVE_BYTES + 1))
    assert collector.get("/readyz")[0] == 200
    assert collector.post(MENU, menu_event(1))[0] == 503  # the reserve is not for it
    room.write_text(str(RESERVE_BYTES + 1_000))
    assert collector.post(MENU, menu_event(1))[0] == 200


@contextmanager
def stalled(stall: Path) -> Iterator[ThreadPoolExecutor]:
    """Let no sync end within; give who sends meanwhile."""
    with ThreadPoolExecutor() as pool:
        stall.touch()
        try:
            yield pool
        finally:
            stall.unlink()


def queued_bytes(collector: RunningCollector) -> Any:
    return measured(collector, "larder_collector_queued_bytes")


def test_a_full_queue_refuses_at_once_and_keeps_what_it_took(
    collector: RunningCollector, stall: Path
) -> None:
    waiting: list[Future[Any]] = []

    def send(number: int) -> Any:
        client = RunningCollector(collector.home, port=collector.port)
        try:
            return client.post(MENU, menu_event(number, section="x" * 3_000))[0]
        finally:
            client.hang_up()

    with stalled(stall) as pool:
        until = time.monotonic() + PATIENCE_SECONDS
        while queued_bytes(collector) < QUEUE_BYTES:
            assert time.monotonic() < until
            held = queued_bytes(collector)
            waiting.append(pool.submit(send, len(waiting)))
            while queued_bytes(collector) == held:
                assert time.monotonic() < until
        assert len(waiting) == 4
        for number in (10, 11):
            status, content = collector.post(MENU, menu_event(number))
            assert (status, "the queue is full" in content["error"]) == (503, True)
            assert collector.told["retry-after"] == "1"
        assert not any(one.done() for one in waiting)  # nobody was told yes before the sync
        assert refused(collector, "full") == 2
    assert [one.result(PATIENCE_SECONDS) for one in waiting] == [200] * 4
    assert queued_bytes(collector) == 0
    assert collector.post(MENU, menu_event(11))[0] == 200
    collector.kill(15)
    assert keys_in_raw(collector.home) == dict.fromkeys(
        [*(f"menu-{number}" for number in range(4)), "menu-11"], 1
    )


def test_a_sender_that_is_too_fast_is_told_when_to_come_again(tmp_path: Path) -> None:
    with running(tmp_path, "--rate", "0.5") as collector:
        assert collector.post(MENU, menu_event(1))[0] == 200
        assert collector.post(MENU, menu_event(2))[0] == 429
        asked = int(collector.told["retry-after"])
        assert 1 <= asked <= 2
        time.sleep(asked + 0.5)
        assert collector.post(MENU, menu_event(2))[0] == 200
