"""Whatever goes wrong with one look or one segment, the others land, and this one later."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from collecting import menu_event
from prometheus_client.parser import text_string_to_metric_families
from warehouse_homes import settings_of

from larder.errors import LandingError
from larder.metrics import COLLECTOR_METRICS
from loaders.collector import lander
from loaders.collector.answers import Answer
from loaders.collector.app import Collector, Request
from loaders.collector.disk import Disk
from loaders.collector.frames import encode
from loaders.collector.lander import Lander, empty_spool
from loaders.collector.measures import Measures
from loaders.collector.reception import Reception
from loaders.collector.segments import Segment, find_segments
from loaders.collector.senders import Senders
from loaders.collector.serving import opened_spool
from loaders.landing import find_files
from loaders.zones import Zone

LOG = logging.getLogger("test")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home" / "spool").mkdir(parents=True)
    return tmp_path / "home"


def leave(home: Path, name: str = "2024-01-01T100000.000000-left.spool") -> Path:
    """Leave a segment as a killed collector does."""
    path = home / "spool" / name
    line = json.dumps(menu_event(1)).encode() + b"\n"
    path.write_bytes(encode("menu/menu_events", 1, line))
    return path


def failing(real: Callable[..., Any], *errors: Exception, of: str = "") -> Callable[..., Any]:
    """Let the first calls fail whose argument ends so."""
    left: Iterator[Exception] = iter(errors)

    def call(first: Any, *more: Any, **named: Any) -> Any:
        error = next(left, None) if str(first).endswith(of) else None
        if error:
            raise error
        return real(first, *more, **named)

    return call


def wait_for_landing(home: Path, *, but: tuple[Path, ...] = ()) -> float:
    """Run a collector until all has landed but what cannot; return how many tries failed."""
    measures = Measures()

    async def run() -> None:
        with opened_spool(settings_of(home), measures, LOG):
            until = time.monotonic() + 20
            while set(find_segments(home / "spool")) - set(but):
                assert time.monotonic() < until, "nothing lands"
                await asyncio.sleep(0.05)

    asyncio.run(run())
    failures = measures.registry.get_sample_value("larder_collector_landing_failures_total")
    assert failures is not None
    return failures


def find_files_of(home: Path) -> list[Path]:
    return [file.path for file in find_files(home / "landing")]


def test_what_cannot_be_opened_once_lands_afterwards(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    leave(home)
    error = OSError(errno.EMFILE, "Too many open files")
    monkeypatch.setattr(os, "open", failing(os.open, error, of="left.spool"))
    assert wait_for_landing(home) == 1
    assert caplog.messages == ["not landed yet"]
    assert len(find_files_of(home)) == 1


def test_a_folder_that_cannot_be_read_once_is_looked_into_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(home)
    error = OSError(errno.EMFILE, "Too many open files")
    monkeypatch.setattr(lander, "find_segments", failing(find_segments, error))
    assert wait_for_landing(home) == 1
    assert len(find_files_of(home)) == 1


def test_one_that_never_opens_hinders_no_other(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = leave(home, "2023-01-01T100000.000000-closed.spool")
    leave(home)
    (home / "spool" / "2022-folder.spool").mkdir()
    denied = [PermissionError(errno.EACCES, "Permission denied")] * 100
    monkeypatch.setattr(os, "open", failing(os.open, *denied, of="closed.spool"))
    assert wait_for_landing(home, but=(closed,)) >= 1
    assert len(find_files_of(home)) == 1
    with pytest.raises(LandingError, match=r"closed\.spool cannot be opened \(Permission denied\)"):
        empty_spool(settings_of(home))


def test_a_fault_of_ours_is_logged_whole_and_tried_again(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    leave(home)
    land = failing(lander.land_segment, KeyError("a fault"))
    monkeypatch.setattr(lander, "land_segment", land)
    assert wait_for_landing(home) == 1
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert record.exc_info
    assert len(find_files_of(home)) == 1


def test_segments_that_wait_for_a_slow_landing_zone_hold_no_files_open(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a long outage would use up what the process may open, and nobody could connect."""
    given = 30
    is_up = threading.Event()
    real = lander.land_segment

    def land(zone: Zone, path: Path) -> lander.Landed:
        if not is_up.wait(0.3):
            raise LandingError("the zone does not answer")
        return real(zone, path)

    monkeypatch.setattr(lander, "land_segment", land)
    spool = home / "spool"
    with closing(Lander(settings_of(home), spool, Measures(), LOG)) as landing:
        segments = [Segment(spool, datetime.now(UTC), Disk()) for _ in range(given)]
        for number, segment in enumerate(segments):
            line = json.dumps(menu_event(number)).encode() + b"\n"
            segment.append(encode("menu/menu_events", 1, line))
            landing.give(segment)
        until = time.monotonic() + 0.3 * given / 2  # one after another they would take all of it
        while sum(is_open(segment) for segment in segments) > 1:
            assert time.monotonic() < until
            time.sleep(0.05)
        is_up.set()
        until = time.monotonic() + 20
        while any(segment.path.exists() for segment in segments):
            assert time.monotonic() < until, "not all has landed"
            time.sleep(0.05)
    assert len(find_files_of(home)) == given


def is_open(segment: Segment) -> bool:
    """Tell whether its descriptor is still that of its file."""
    try:
        return os.path.samestat(os.fstat(segment.descriptor), segment.path.stat())
    except OSError:
        return False


def test_a_collector_whose_lander_has_ended_is_not_ready(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measures = Measures()
    collector = Collector(
        Reception(Senders("", 0.0), None),
        measures,
        lambda: opened_spool(settings_of(home), measures, LOG),
    )

    async def readiness() -> bytes:
        with opened_spool(settings_of(home), Measures(), LOG) as collector.spool:
            await asyncio.sleep(0.1)
            answer = collector.expect(Request(b"GET", "/readyz", b"", {}))
            assert isinstance(answer, Answer)
            return answer.sent()

    assert asyncio.run(readiness()).startswith(b"HTTP/1.1 200 ")
    monkeypatch.setattr(Lander, "_run", lambda _: None)
    answer = asyncio.run(readiness())
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert answer.endswith(b'{"status":"broken"}')


def told(home: Path) -> dict[str, Any]:
    """Run a collector, and return what it tells, by name as Prometheus reads it."""
    measures = Measures()

    async def run() -> str:
        with opened_spool(settings_of(home), measures, LOG):
            return measures.text().decode()

    return {family.name: family for family in text_string_to_metric_families(asyncio.run(run()))}


def test_what_a_collector_tells_is_in_the_catalogue(home: Path) -> None:
    families = told(home)
    names = {name.removesuffix("_total") for name in COLLECTOR_METRICS}
    # when a counter began is told beside it
    assert {name for name in families if not name.endswith("_created")} == names
    for name, metric in COLLECTOR_METRICS.items():
        family = families[name.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.kind, metric.text)


def test_since_when_the_oldest_segment_waits(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def waits_since() -> float:
        family = told(home)["larder_collector_oldest_segment_timestamp_seconds"]
        return float(family.samples[0].value)

    assert math.isnan(waits_since())
    monkeypatch.setattr(lander, "adopt", lambda _: None)  # another collector holds all
    leave(home, "1-of-another-name.spool")
    assert math.isnan(waits_since())
    leave(home)
    leave(home, "2024-01-01T090000.500000-older.spool")
    assert waits_since() == datetime(2024, 1, 1, 9, 0, 0, 500_000, UTC).timestamp()


def test_a_gauge_that_cannot_be_read_hides_no_other(home: Path) -> None:
    class LostDisk(Disk):
        def free_bytes(self, folder: Path) -> int:
            raise OSError(errno.EIO, "Input/output error", str(folder))

    measures = Measures()

    async def run() -> str:
        with opened_spool(settings_of(home), measures, LOG, LostDisk()) as spool:
            assert spool.state() == "broken"
            return measures.text().decode()

    text = asyncio.run(run())
    assert "larder_collector_disk_free_bytes NaN" in text
    assert "larder_collector_spool_segments 0.0" in text
