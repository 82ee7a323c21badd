from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from landing_zone import Home, event, line

from larder.errors import LandingError
from larder.settings import Settings
from loaders import segments
from loaders.landing import find_files, sha256_of
from loaders.ledger import Ledger, find_segments
from loaders.load import load

STOCK = "fridge/stock_events"
LOAD = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from larder.settings import Settings
from loaders.load import load
home, key = map(Path, sys.argv[1:])
print("ready", flush=True)
load(Settings(home=home, key_file=key, lock_wait_seconds=60.0), lambda: datetime.now(UTC))
"""


def start_loader(settings: Settings) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", LOAD, settings.home, settings.key_file],
        stdout=subprocess.PIPE,
        text=True,
    )


def land_many(home: Home, files: int, records: int = 200) -> None:
    for file in range(files):
        content = b"".join(
            line(event(file * records + n, customer_id=f"C{n % 50}")) for n in range(records)
        )
        home.land(f"{STOCK}/{file:03}.ndjson", content)


def test_a_file_is_loaded_once(home: Home) -> None:
    home.land(f"{STOCK}/a.ndjson", line(event(1)) * 3 + b"x\n")
    first, second = home.load(), home.load()
    assert (first.files, first.skipped) == (1, 0)
    counts = first.entities[STOCK]
    assert (counts.records, counts.duplicates, counts.rejected) == (4, 2, 1)
    assert (second.files, second.skipped, dict(second.entities)) == (0, 1, {})


def test_the_same_content_under_two_names_is_two_files(home: Home) -> None:
    for name in "ab":
        home.land(f"{STOCK}/{name}.ndjson", line(event(1)))
    assert home.load().files == 2


@pytest.mark.parametrize("damage", ["missing", "not JSON", "another shape", "another time"])
def test_the_ledger_is_only_a_cache(home: Home, damage: str) -> None:
    home.land(f"{STOCK}/a.ndjson", line(event(1)))
    home.load()
    ledger = home.settings.raw_folder / "_ledger.json"
    if damage == "missing":
        ledger.unlink()
    elif damage == "not JSON":
        ledger.write_text("{")
    elif damage == "another shape":
        ledger.write_text('{"a": [1], "b": 2}')
    else:
        ledger.write_text(ledger.read_text().replace('["', '["1'))
    assert (home.load().files, home.keys()) == (0, ["e1"])


def test_a_touched_file_is_not_loaded_again_and_looked_into_only_once(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = home.land(f"{STOCK}/a.ndjson", line(event(1)))
    home.load()
    os.utime(path, (1, 1))
    summary = home.load()
    assert (summary.files, summary.skipped, summary.entities[STOCK].waiting) == (0, 1, 0)

    def fail(_: Path) -> str:
        raise AssertionError("read again")

    monkeypatch.setattr(segments, "sha256_of", fail)
    assert home.load().skipped == 1


def test_a_changed_file_is_one_dead_letter_and_what_it_was_stays(home: Home) -> None:
    home.land(f"{STOCK}/a.ndjson", line(event(1)))
    home.load()
    home.land(f"{STOCK}/a.ndjson", line(event(2)) * 2)
    assert home.load().files == 1
    assert home.load().files == 0
    assert home.keys() == ["e1"]
    assert home.rejections() == [(1, "changed_file")]


def test_a_file_still_open_for_writing_is_taken_the_next_time(home: Home) -> None:
    path = home.land(f"{STOCK}/a.ndjson", line(event(1)))
    home.land(f"{STOCK}/b.ndjson", line(event(2)))
    with path.open("ab") as file:
        summary = home.load().entities[STOCK]
        assert (summary.files, summary.waiting, home.keys()) == (1, 1, ["e2"])
        file.write(line(event(3)))
    assert home.load().files == 1
    assert home.keys() == ["e1", "e2", "e3"]


def test_a_file_that_changes_while_it_is_read_is_left_for_the_next_time(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = home.land(f"{STOCK}/a.ndjson", line(event(1)))
    original = sha256_of

    def grow(target: Path) -> str:
        digest = original(target)
        with path.open("ab") as file:
            file.write(line(event(2)))
        return digest

    with monkeypatch.context() as patch:
        patch.setattr(segments, "sha256_of", grow)
        assert home.load().entities[STOCK].waiting == 1
    home.load()
    assert home.keys() == ["e1", "e2"]


@pytest.mark.parametrize("name", [".a.ndjson", "_a.ndjson", "a.ndjson.tmp", "_part/a.ndjson"])
def test_files_that_are_not_there_yet_are_left_alone(home: Home, name: str) -> None:
    home.land(f"{STOCK}/{name}", line(event(1)))
    assert list(find_files(home.settings.landing_folder)) == []


def test_without_a_landing_zone_the_error_says_what_to_do(home: Home) -> None:
    home.settings.landing_folder.rmdir()
    with pytest.raises(LandingError, match="LARDER_LANDING"):
        home.load()


def test_received_is_when_the_file_arrived_but_never_later_than_the_load(home: Home) -> None:
    arrived = datetime(2024, 5, 31, 23, 59, 58, tzinfo=UTC)
    home.land(f"{STOCK}/a.ndjson", line(event(1)), arrived)
    home.land(f"{STOCK}/b.ndjson", line(event(2)), datetime(2040, 1, 1, tzinfo=UTC))
    home.load()
    assert home.query("select received_at from records order by natural_key") == [
        (arrived.replace(tzinfo=None),),
        (datetime(2024, 6, 1, 12),),  # noqa: DTZ001 - segments hold UTC without a zone
    ]


def test_two_loaders_at_once_load_everything_once(home: Home) -> None:
    land_many(home, files=12)
    loaders = [start_loader(home.settings) for _ in range(2)]
    for loader in loaders:
        loader.communicate(timeout=60)
        assert loader.returncode == 0
    assert_all_loaded_once(home, files=12)


def test_whatever_is_killed_nothing_is_lost_or_loaded_twice(home: Home) -> None:
    land_many(home, files=30)
    generator = random.Random(20240601)
    for _ in range(4):
        loader = start_loader(home.settings)
        assert loader.stdout is not None
        loader.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            loader.wait(generator.uniform(0.05, 0.9))
            raise subprocess.TimeoutExpired("it had finished before", 0)
        loader.send_signal(signal.SIGKILL)
        loader.communicate()
    home.load()
    assert_all_loaded_once(home, files=30)
    assert list((home.settings.raw_folder / "_aside").iterdir()) == []


@pytest.mark.parametrize("step", ["_copy", "_count", "commit"])
def test_a_loader_that_dies_at_any_step_leaves_nothing_half_done(
    home: Home, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    home.land(f"{STOCK}/a.ndjson", line(event(1)))
    original: Callable[..., Any] = getattr(segments, step)

    def die_before(*_: Any) -> None:
        raise KeyboardInterrupt

    def die_after(*arguments: Any) -> None:
        original(*arguments)
        raise KeyboardInterrupt

    for die in (die_before, die_after):
        with monkeypatch.context() as patch:
            patch.setattr(segments, step, die)
            with pytest.raises(KeyboardInterrupt):
                home.load()
    home.load()
    assert home.keys() == ["e1"]
    assert len(list(find_segments(home.settings.raw_folder))) == 1


def test_segments_say_what_they_were_made_from(home: Home) -> None:
    path = home.land(f"{STOCK}/a.ndjson", line(event(1)))
    home.load()
    (segment,) = find_segments(home.settings.raw_folder)
    assert segment.parent.name == "process_hour=2024-06-01T12"
    assert pq.read_schema(segment).names == segments.SEGMENT_SCHEMA.names
    (origin,) = Ledger(home.settings.raw_folder).read().origins(f"{STOCK}/a.ndjson")
    assert origin.size == path.stat().st_size


def test_progress_is_told_by_entity(home: Home) -> None:
    land_many(home, files=3, records=1)
    seen: list[tuple[str, int, int]] = []
    load(
        home.settings,
        lambda: datetime(2024, 6, 1, tzinfo=UTC),
        lambda path, done, files: seen.append((path, done, files)),
    )
    assert seen == [(STOCK, done, 3) for done in (1, 2, 3)]


def assert_all_loaded_once(home: Home, files: int) -> None:
    assert home.query(
        "select count(*), count(distinct natural_key), count(rejection_reason), "
        "count(distinct source_file), count(distinct commerce_token) from records"
    ) == [(files * 200, files * 200, 0, files, 50)]
    assert len(list(find_segments(home.settings.raw_folder))) == files
