"""What was acknowledged lands exactly once: failing disks, damaged segments, signing ids."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from collecting import KEY, RunningCollector, menu_event, running
from kept_events import keys_in_raw, wait_until_landed
from landing_zone import ARRIVED
from warehouse_homes import settings_of

from larder.errors import LandingError
from loaders.collector.bodies import Received
from loaders.collector.disk import Disk
from loaders.collector.lander import DAMAGED_SUFFIX, empty_spool
from loaders.collector.measures import Measures
from loaders.collector.segments import SUFFIX, Segment, find_segments
from loaders.collector.serving import opened_spool
from loaders.collector.signatures import SigningIds, claim
from loaders.collector.spool import Spool, SpoolFullError, Waiting

MENU = "/v1/menu/events"


def test_a_write_that_fails_in_the_middle_is_not_acknowledged_and_costs_nothing_else(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    collector = RunningCollector(home, {"LARDER_API_KEYS": f"{KEY}:*"}, most_bytes=300_000)
    collector.start()
    statuses = {}
    for number in range(60):
        event = menu_event(number, section="x" * 20_000)
        statuses[f"menu-{number}"] = collector.post(MENU, event)[0]
    assert set(statuses.values()) == {200, 503}
    # a landing file may not be so large either: it waits for a collector that may
    collector.kill()
    with running(home):
        wait_until_landed(home)
    found = keys_in_raw(home)
    assert {key for key, status in statuses.items() if status == 200} == set(found)
    assert set(found.values()) == {1}


class FaultyDisk(Disk):
    """A disk that fails when it is told to."""

    def __init__(self) -> None:
        self.fails: dict[str, int] = {}
        self.free = 2**40

    def _fail(self, call: str) -> None:
        left = self.fails.get(call, 0)
        if left:
            self.fails[call] = left - 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def write(self, descriptor: int, data: bytes | memoryview) -> int:
        if self.fails.get("write"):
            super().write(descriptor, data[: len(data) // 2])
        self._fail("write")
        return super().write(descriptor, data[: max(len(data) // 3, 1)])  # never all at once

    def sync(self, descriptor: int) -> None:
        self._fail("sync")
        super().sync(descriptor)

    def truncate(self, descriptor: int, size: int) -> None:
        self._fail("truncate")
        super().truncate(descriptor, size)

    def free_bytes(self, folder: Path) -> int:  # noqa: ARG002
        return self.free


async def outcome_of(spool: Spool, key: str) -> Exception | None:
    """Send an event; return what kept it from being durable."""
    line = f'{{"event_id": "{key}", "occurred_at": "2024-01-01", "location_id": "x"}}'
    told: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
    spool.put(Waiting(Received("menu/menu_events", [line.encode()], 1), None, told.set_result))
    return await told


def kept_on(
    home: Path, disk: FaultyDisk, trouble: Callable[[], None]
) -> tuple[list[str], list[str]]:
    """Send ten events, five at once, in trouble after the first five; return kept and refused."""
    kept: list[str] = []
    refused: list[str] = []

    async def send(spool: Spool, number: int) -> None:
        outcome = await outcome_of(spool, str(number))
        assert outcome is None or isinstance(outcome, SpoolFullError)
        (refused if outcome else kept).append(str(number))

    async def run() -> None:
        with opened_spool(settings_of(home), Measures(), logging.getLogger("test"), disk) as spool:
            await asyncio.gather(*(send(spool, number) for number in range(5)))
            trouble()
            await asyncio.gather(*(send(spool, number) for number in range(5, 10)))
            disk.fails, disk.free = {}, 2**40
            await asyncio.gather(*(send(spool, number) for number in range(10, 15)))
            await asyncio.to_thread(spool.close)

    asyncio.run(run())
    return kept, refused


@pytest.mark.parametrize(
    "calls", [["write"], ["sync"], ["write", "truncate"], ["sync", "truncate"]], ids=" and ".join
)
def test_a_disk_that_fails(tmp_path: Path, calls: list[str]) -> None:
    disk = FaultyDisk()
    home = tmp_path / "home"
    kept, refused = kept_on(home, disk, lambda: disk.fails.update(dict.fromkeys(calls, 1000)))
    assert sorted(refused) == ["5", "6", "7", "8", "9"]
    found = keys_in_raw(home)
    assert {key: found[key] for key in kept} == dict.fromkeys(kept, 1)
    if "truncate" not in calls:  # where not even that can be done, the sender may find it there
        assert set(found) == set(kept)


class CountingDisk(Disk):
    """A disk that knows how often it was waited for."""

    syncs = 0

    def sync(self, descriptor: int) -> None:
        self.syncs += 1
        super().sync(descriptor)


def test_who_is_answered_and_sends_again_shares_a_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a sync would be for those alone that happen to come during the one before."""
    monkeypatch.setattr("loaders.collector.spool.GATHER_SECONDS", 0.5)
    disk, senders, rounds = CountingDisk(), 16, 20

    async def send(spool: Spool, sender: int) -> None:
        for number in range(rounds):
            await asyncio.sleep((sender * 7 + number * 5) % 11 / 1000)
            assert await outcome_of(spool, f"{sender}-{number}") is None

    async def run() -> None:
        log = logging.getLogger("test")
        with opened_spool(settings_of(tmp_path), Measures(), log, disk) as spool:
            await asyncio.gather(*(send(spool, sender) for sender in range(senders)))

    asyncio.run(run())
    assert disk.syncs < 2 * rounds


def test_a_full_disk_takes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    disk = FaultyDisk()
    home = tmp_path / "home"
    with caplog.at_level(logging.INFO, "test"):
        kept, refused = kept_on(home, disk, lambda: setattr(disk, "free", 1000))
    assert sorted(refused) == ["5", "6", "7", "8", "9"]
    assert caplog.messages == ["nothing is kept", "kept again"]
    assert keys_in_raw(home) == dict.fromkeys(kept, 1)


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        pytest.param(
            lambda path: OSError(errno.EMFILE, "Too many open files", str(path)),
            "the disk fails",
            id="no file can be opened",
        ),
        pytest.param(
            lambda path: sqlite3.OperationalError(f"unable to open {path}"),
            "the disk fails",
            id="no database",
        ),
        pytest.param(
            lambda path: KeyError(str(path)), "the collector has failed", id="a fault of ours"
        ),
    ],
)
def test_a_trouble_is_logged_once_and_senders_learn_no_path(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    failure: Callable[[Path], Exception],
    told: str,
) -> None:
    """Also where each segment that cannot be opened has another name."""
    names: set[Path] = set()

    def fail(folder: Path, *_: object) -> Segment:
        path = folder / f"{len(names)}.spool"
        names.add(path)
        raise failure(path)

    async def run() -> list[str]:
        log = logging.getLogger("test")
        with opened_spool(settings_of(tmp_path), Measures(), log) as spool:
            with monkeypatch.context() as patch:
                patch.setattr("loaders.collector.spool.Segment", fail)
                refused = [await outcome_of(spool, str(number)) for number in range(4)]
            assert await outcome_of(spool, "kept") is None
            return [str(one) for one in refused]

    with caplog.at_level(logging.INFO, "test"):
        assert set(asyncio.run(run())) == {told}
    assert len(names) == 4
    assert caplog.messages == ["nothing is kept", "kept again"]
    assert "0.spool" in vars(caplog.records[0])["why"]  # where to look is for us
    assert bool(caplog.records[0].exc_info) == (told == "the collector has failed")


def test_a_landing_zone_that_cannot_be_written_delays_only(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home) as collector:
        (home / "landing").rmdir()
        (home / "landing").touch()
        assert collector.post(MENU, menu_event(1))[0] == 200
        time.sleep(3)
        assert (
            "larder_collector_landing_failures_total 0.0"
            not in (collector.get("/metrics")[1]["text"])
        )
        (home / "landing").unlink()
        wait_until_landed(home)
    assert keys_in_raw(home) == {"menu-1": 1}


def test_a_damaged_segment_gives_what_can_be_read_and_is_kept(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home) as collector:
        for number in range(3):
            assert collector.post(MENU, menu_event(number))[0] == 200
        collector.kill()
    (segment,) = find_segments(home / "spool")
    content = bytearray(segment.read_bytes())
    content[200] ^= 1  # within the first frame
    segment.write_bytes(content)
    with running(home):
        wait_until_landed(home)
    assert keys_in_raw(home) == {"menu-1": 1, "menu-2": 1}
    assert (home / "spool" / segment.name.replace(SUFFIX, DAMAGED_SUFFIX)).exists()
    with pytest.raises(LandingError, match="may hold anybody"):
        empty_spool(settings_of(home))


def test_whoever_searches_everything_empties_the_spool_first(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home) as killed:
        assert killed.post(MENU, menu_event(1))[0] == 200
        killed.kill()
    with running(home) as collector:
        assert collector.post(MENU, menu_event(2))[0] == 200
        empty_spool(settings_of(home))
        assert keys_in_raw(home) == {"menu-1": 1, "menu-2": 1}


def test_a_spool_that_does_not_empty_is_said(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "landing").touch()
    (home / "spool").mkdir()
    held = Segment(home / "spool", ARRIVED, Disk())
    with pytest.raises(LandingError, match="has not landed after 0 s"):
        empty_spool(settings_of(home), seconds=0)
    os.close(held.descriptor)


def test_a_signing_id_belongs_to_whoever_claims_it_first(tmp_path: Path) -> None:
    """Also within a group, across collectors, and for more claims than one look-up takes."""
    path = tmp_path / "signing_ids.sqlite"
    with closing(SigningIds(path)) as one, closing(SigningIds(path)) as other:
        first = [claim(b"id-%d" % number, b"body") for number in range(2_500)]
        late = [claim(b"id-%d" % number, b"another body") for number in range(2_500)]
        assert one.refused([*first[:3], late[0], first[1]]) == {late[0]}
        assert other.refused([*late[:4], *first]) == {*late[:3], first[3]}
        assert one.refused(first) == {first[3]}


def test_collectors_that_claim_at_once_agree(tmp_path: Path) -> None:
    path = tmp_path / "signing_ids.sqlite"
    refused: dict[int, int] = {}

    def claim_all(sender: int) -> None:
        with closing(SigningIds(path)) as ids:
            groups = [
                [claim(b"%d-%d" % (group, number), b"body of %d" % sender) for number in range(20)]
                for group in range(100)
            ]
            refused[sender] = sum(len(ids.refused(group)) for group in groups)

    threads = [threading.Thread(target=claim_all, args=(sender,)) for sender in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(refused.values()) == 2 * 2_000  # of three bodies for an id, one is kept
