"""Replays and the live sample against a real collector: nothing is lost, nothing counts twice."""

from __future__ import annotations

import gzip
import json
import shutil
import signal
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from collecting import SECRET, RunningCollector, menu_event, running
from landing_zone import Home, make_home
from sample_networks import Sample, write
from warehouse_homes import refused_larder, run_larder

from loaders.landing import find_files
from loaders.sample.live import REFERENCE, live_sample
from loaders.sample.network import SampleError, SampleOptions, write_sample_network
from loaders.sending.live import read_live

KEY = "a-key-for-everything:*"
LATE = timedelta(seconds=20)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return write(tmp_path_factory.mktemp("sent"), SampleOptions(days=4, locations=10))


def replay(
    collector: RunningCollector, *arguments: str | Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the command against a collector."""
    settings = {"LARDER_API_KEYS": KEY} | variables
    to = f"http://127.0.0.1:{collector.port}"
    home = collector.home.parent / "sender"
    done: subprocess.CompletedProcess[str] = run_larder(
        home, "replay", "--to", to, *map(str, arguments), **settings
    )
    return done


def raw(home: Home) -> dict[str, set[tuple[str, str]]]:
    """Return what raw holds of each entity: keys and contents."""
    found = {}
    for entity in ("menu/menu_events", "trips/trip_events", "trips/geofences"):
        rows = home.query(
            "select natural_key, content_hash from records where rejection_reason is null", entity
        )
        found[entity] = set(rows)
    return found


def landed(collector: RunningCollector) -> Home:
    """End the collector, so that all has landed, and load it."""
    if collector.process and collector.process.poll() is None:
        collector.kill(signal.SIGTERM)
    home = make_home(collector.home.parent / "loaded")
    shutil.copytree(collector.home / "landing", home.settings.landing_folder, dirs_exist_ok=True)
    home.load()
    return home


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[RunningCollector]:
    with running(tmp_path / "collector") as collector:
        yield collector


def test_files_sent_in_any_order_and_twice_give_the_same_raw(
    sample: Sample, collector: RunningCollector, home: Home
) -> None:
    """At once in the order of files, then at a pace in the order of moments."""
    for source in ("menu", "trips"):
        shutil.copytree(sample[0] / source, home.settings.landing_folder / source)
    home.load()
    folders = [sample[0] / "trips", sample[0] / "menu"]
    first = replay(collector, "--speed", "max", *folders)
    pace = ("--speed", "86400", "--longest-pause", "1")
    second = replay(collector, *pace, *reversed(folders))
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert first.stdout == second.stdout
    assert "trips/geofences: 16 sent, 16 accepted, 0 rejected" in first.stdout
    # a van's clock is a year ahead
    assert "records over 431 days, " in second.stderr
    assert "at 86400 times their pace that takes 0:00:0" in second.stderr
    again = landed(collector)
    assert raw(again) == raw(home)
    assert again.rejections() == []


def test_a_collector_killed_in_the_middle_gets_the_rest_when_it_is_back(
    collector: RunningCollector,
) -> None:
    """Twice killed while records come one at a time; each is in raw, whatever was sent twice."""
    records = [json.dumps(menu_event(number)) for number in range(3_000)]
    file = collector.home.parent / "menu/menu_events/clicks.ndjson.gz"
    file.parent.mkdir(parents=True)
    moments = (
        record.replace("10:00:00", f"10:{number // 60 % 60:02}:{number % 60:02}")
        for number, record in enumerate(records)
    )
    file.write_bytes(gzip.compress("\n".join(moments).encode()))
    done: list[subprocess.CompletedProcess[str]] = []
    sending = threading.Thread(
        target=lambda: done.append(replay(collector, file, "--speed", "600"))
    )
    sending.start()
    for _ in range(2):
        _wait_for_events(collector, 50)
        collector.kill(signal.SIGKILL)
        time.sleep(0.3)
        collector.start()
    sending.join(timeout=120)
    assert [one.returncode for one in done] == [0], done[0].stderr
    assert "3,000 sent, 3,000 accepted, 0 rejected" in done[0].stdout
    assert len(set(landed(collector).keys("menu/menu_events"))) == 3_000


def _wait_for_events(collector: RunningCollector, events: int) -> None:
    """Wait until a collector has taken some of what is sent at a pace."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        text = collector.get("/metrics")[1]["text"]
        for line in text.splitlines():
            is_count = line.startswith("larder_collector_accepted_records_total{")
            if is_count and float(line.split()[-1]) >= events:
                return
        time.sleep(0.05)
    raise AssertionError("nothing came")


def test_a_collector_that_asks_to_wait_is_waited_for(tmp_path: Path) -> None:
    """Three thousand events at 1,500 a second: refused with 429, sent again, all taken."""
    file = tmp_path / "clicks.jsonl"
    file.write_text("".join(f"{json.dumps(menu_event(number))}\n" for number in range(6_000)))
    with running(tmp_path / "collector", "--rate", "1500") as collector:
        began = time.monotonic()
        done = replay(collector, file, "--entity", "menu/menu_events", "--speed", "0")
        assert time.monotonic() - began > 1
        assert "6,000 sent, 6,000 accepted" in done.stdout, done.stderr
        assert "menu/menu_events: 6,000" in done.stdout
        assert 'reason="rate"' in collector.get("/metrics")[1]["text"]


def test_trips_are_signed_where_there_is_a_secret(sample: Sample, tmp_path: Path) -> None:
    only_signed = {"LARDER_API_KEYS": "", "LARDER_RADAR_SECRET": SECRET}
    file = sample[0] / "trips/trip_events/2019-04-30.jsonl"
    assert file.exists()
    with running(tmp_path / "collector", environment=only_signed) as collector:
        done = replay(collector, file, "--speed", "max", **only_signed)
        assert done.returncode == 0, done.stderr
        another = only_signed | {"LARDER_RADAR_SECRET": "another"}
        wrong = replay(collector, file, "--speed", "max", **another)
        assert wrong.returncode == 1
        assert wrong.stderr.count("\n") == 1
        assert "X-Radar-Signature" in wrong.stderr


def test_a_key_that_may_not_send_this_is_said_in_one_line(
    collector: RunningCollector, tmp_path: Path
) -> None:
    file = tmp_path / "clicks.ndjson"
    file.write_text(json.dumps(menu_event(1)))
    wrong = "a-key-nobody-knows:*"
    for keys in (wrong, "a-key-for-everything:trips"):
        done = replay(collector, file, "--entity", "menu/menu_events", LARDER_API_KEYS=keys)
        assert done.returncode == 1
        problem = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert len(problem) == 1
        assert "LARDER_API_KEYS" in problem[0]
        assert "a-key" not in done.stderr + done.stdout
        assert "Traceback" not in done.stderr


def test_what_is_broken_is_sent_for_the_dead_letters_and_what_is_no_text_is_left_out(
    collector: RunningCollector, tmp_path: Path
) -> None:
    file = tmp_path / "menu/menu_events/clicks.ndjson"
    file.parent.mkdir(parents=True)
    good = json.dumps(menu_event(1)).encode()
    file.write_bytes(b"\n".join([good, b"{broken", b"", b'{"kind": "\xff"}', b'{"a": 1}']))
    done = replay(collector, file, "--speed", "max")
    assert done.returncode == 0
    assert "menu/menu_events: 3 sent, 1 accepted, 2 rejected" in done.stdout
    assert "1 lines were left out" in done.stdout
    assert len(landed(collector).rejections()) == 2


def test_nobody_there_is_said_at_once(tmp_path: Path) -> None:
    file = tmp_path / "clicks.ndjson"
    file.write_text(json.dumps(menu_event(1)))
    options = ("--entity", "menu/menu_events", "--to", "http://127.0.0.1:9")
    done = refused_larder(tmp_path / "home", "replay", str(file), *options)
    assert done.returncode == 1
    assert "No collector answers at http://127.0.0.1:9" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("replay", "absent.ndjson"),
        ("replay", "absent.ndjson", "--speed", "fast"),
        ("replay", "absent.ndjson", "--speed", "-1"),
    ],
)
def test_wrong_use_ends_with_two(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert refused_larder(tmp_path / "home", *arguments).returncode == 2


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (("--live", "--speed", "max"), "a factor of 1 or more"),
        (("--live", "--speed", "0.5"), "a factor of 1 or more"),
        (("--speed", "10"), "give --live with them"),
        (("--speed", "0"), "give --live with them"),
        (("--seconds", "10"), "give --live with them"),
    ],
)
def test_a_pace_that_a_sample_cannot_have_is_refused_in_a_line(
    tmp_path: Path, options: tuple[str, ...], part: str
) -> None:
    home = tmp_path / "home"
    # a small one: whoever does not refuse it writes it
    done = refused_larder(home, "sample", "--days", "2", "--locations", "2", *options)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert part in done.stderr
    assert not (home / "landing").exists()


def events_of(home: Path, entity: str) -> list[dict[str, Any]]:
    """Return what the collector has landed of an entity."""
    return [
        json.loads(line)
        for file in find_files(home / "landing")
        if file.relative.startswith(f"{entity}/process_hour=")
        for line in file.path.read_bytes().splitlines()
    ]


def test_the_live_sample_happens_now(tmp_path: Path) -> None:
    """A hundred times as fast: it begins in the past, arrives at now, and each one is new."""
    home = tmp_path / "warehouse"
    options = ("--days", "4", "--locations", "10", "--live", "--seconds", "6", "--speed", "100")
    with running(home) as collector:
        to = ("--to", f"http://127.0.0.1:{collector.port}")
        began = datetime.now(UTC)
        for _ in range(2):
            done = run_larder(home, "sample", *options, *to, LARDER_API_KEYS=KEY)
            assert done.returncode == 0, done.stderr
        ended = datetime.now(UTC)
        collector.kill(signal.SIGTERM)
    # nothing is there but what was sent, and what that refers to
    entities = {
        file.entity.path if file.entity else ""
        for file in find_files(home / "landing")
        if "process_hour=" not in file.relative
    }
    assert entities == {*REFERENCE}
    clicks = events_of(home, "menu/menu_events")
    trips = [one["event"] for one in events_of(home, "trips/trip_events") if "event" in one]
    assert len(clicks) > 50
    assert len(trips) > 20
    moments = [datetime.fromisoformat(one["occurred_at"]) for one in clicks]
    moments += [datetime.fromisoformat(one["createdAt"]) for one in trips]
    usual = [moment for moment in moments if moment < began + timedelta(days=300)]
    assert len(usual) > 0.99 * len(moments)
    assert min(usual) > began - timedelta(seconds=600) - LATE
    assert ended - timedelta(seconds=120) < max(usual) < ended + LATE
    by_id = defaultdict(set)
    for one in clicks:
        by_id[one["event_id"]].add(json.dumps(one, sort_keys=True))
    assert {len(contents) for contents in by_id.values()} == {1}
    started = [one["user"] for one in trips if one["type"] == "user.started_trip"]
    assert len(started) == len({user["trip"]["_id"] for user in started}) >= 2


def test_what_a_live_sample_leaves_is_completed_by_the_whole_one(tmp_path: Path) -> None:
    options = SampleOptions(days=4, locations=10)
    landing, truth = tmp_path / "landing", tmp_path / "truth"
    for _ in range(2):
        with live_sample(landing, options) as folder:
            assert folder != landing
            sent = read_live(folder)
        assert not folder.exists()
    assert len(sent) == 2
    fences = list(find_files(landing))
    assert {file.entity.path for file in fences if file.entity} == {*REFERENCE}
    other = live_sample(landing, SampleOptions(days=3, locations=10))
    with pytest.raises(SampleError, match="other options"), other:
        pass
    write_sample_network(landing, truth, options)
    write_sample_network(tmp_path / "whole", truth, options)
    both = [
        {file.relative: file.path.read_bytes() for file in find_files(folder)}
        for folder in (landing, tmp_path / "whole")
    ]
    assert both[0] == both[1]
    # where the whole one lies it is what is sent, and nothing is written
    with live_sample(landing, options) as folder:
        assert folder == landing
        again = read_live(folder)
    assert [[step.record for step in one] for one in again] == [
        [step.record for step in one] for one in sent
    ]


def test_a_live_sample_of_no_trips_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "warehouse"
    options = ("--days", "2", "--locations", "2", "--recent-days", "0", "--live")
    done = refused_larder(home, "sample", *options)
    assert done.returncode == 1
    assert "--recent-days" in done.stderr
    assert not (home / "landing").exists()
