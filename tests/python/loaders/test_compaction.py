from __future__ import annotations

import subprocess
import sys
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from landing_zone import NOW, Home, decide, event, line

from loaders import compaction
from loaders.audit import audit
from loaders.audit.measures import read_history
from loaders.audit.verdicts import Verdicts
from loaders.compaction import LEAST_PARTS, compact
from loaders.dead_letters import dead_letters
from loaders.ledger import find_segments, read_origins
from loaders.segments import copy_options

STOCK = "fridge/stock_events"
ROWS = "select * exclude (file_row_number) from records order by source_file, line_number"


def later() -> datetime:
    moment: datetime = NOW + timedelta(hours=30)
    return moment


def land_small_files(home: Home, count: int = LEAST_PARTS, first: int = 0) -> None:
    for number in range(first, first + count):
        records = [event(number), event(number + 1, quantity=2), {"event_id": f"bad-{number}"}]
        # a longer name would make some larger than 4096 bytes, a power of 16, and not others
        home.land(f"{STOCK}/{number:03}.ndjson", b"".join(map(line, records)))
    home.load()
    decide(home, "accepted")


def names(home: Home) -> list[str]:
    raw = home.settings.raw_folder
    return sorted(path.relative_to(raw).as_posix() for path in find_segments(raw))


def test_small_old_segments_become_one_with_the_same_rows(home: Home) -> None:
    land_small_files(home)
    rows, letters = home.query(ROWS), list(dead_letters(home.settings))

    summary = compact(home.settings, later)

    assert (summary.parts, summary.segments) == (LEAST_PARTS, 1)
    assert len(names(home)) == 1
    assert home.query(ROWS) == rows
    assert list(dead_letters(home.settings)) == letters
    assert {letter.reason for letter in letters} == {"missing_field", "conflict"}


def test_segments_without_the_newer_token_columns_are_compacted_with_others(home: Home) -> None:
    land_small_files(home)
    first = home.settings.raw_folder / names(home)[0]
    with duckdb.connect() as connection:
        connection.execute(
            "copy (select * exclude (account_token, trip_account_token) from read_parquet("
            f"'{first}', hive_partitioning = false)) to '{first}' "
            f"({copy_options(read_origins(first))})"
        )
    assert compact(home.settings, later).segments == 1
    assert home.query("select count(*), count(account_token) from records") == [
        (3 * LEAST_PARTS, 0)
    ]


def test_new_segments_wait_unless_there_are_very_many(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    land_small_files(home)
    assert compact(home.settings, lambda: NOW).parts == 0
    monkeypatch.setattr(compaction, "MANY_SEGMENTS", LEAST_PARTS)
    assert compact(home.settings, lambda: NOW).parts == LEAST_PARTS


def test_files_of_a_compacted_segment_stay_known(home: Home) -> None:
    land_small_files(home)
    compact(home.settings, later)

    again = home.load(later)

    assert (again.files, again.skipped) == (0, LEAST_PARTS)
    home.land(f"{STOCK}/000.ndjson", line(event(99)))
    home.load(later)
    assert (1, "changed_file") in home.rejections()


def test_a_compacted_segment_is_not_audited_again_and_keeps_the_volumes(home: Home) -> None:
    land_small_files(home, LEAST_PARTS - 1)
    home.land(f"{STOCK}/more.ndjson", b"".join(line(event(100 + n)) for n in range(50)))
    home.load()
    audit(home.settings, lambda: NOW)
    usual = volumes(home)

    compact(home.settings, later)

    assert volumes(home) == usual
    assert sum(usual.values()) >= 50
    assert audit(home.settings, later).skipped == "nothing new since the last audit"


def volumes(home: Home) -> dict[date, int]:
    with duckdb.connect() as connection:
        files = Verdicts(home.settings).volume_files()
        return read_history(connection, files, names(home))


def test_new_few_and_held_segments_are_left_alone(home: Home) -> None:
    land_small_files(home)
    before = names(home)

    assert compact(home.settings, lambda: NOW).segments == 0  # new
    decide(home, "held", before[0])
    assert compact(home.settings, later).segments == 0  # one too few without the held one
    assert names(home) == before


def test_nothing_is_compacted_while_somebody_has_the_build_open(home: Home) -> None:
    land_small_files(home)
    with duckdb.connect(str(home.settings.build_database)):
        # a process of its own, for within one process a database may be opened twice
        script = (
            "from pathlib import Path; from loaders.compaction import _is_in_use; "
            f"print(_is_in_use(Path({str(home.settings.build_database)!r})))"
        )
        assert run_python(script) == "True"
    assert run_python(script) == "False"


def run_python(script: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_large_segments_are_left_alone_and_sizes_are_not_mixed(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    land_small_files(home, 2 * LEAST_PARTS)
    monkeypatch.setattr(compaction, "TARGET_BYTES", 1)
    assert compact(home.settings, later).segments == 0
    monkeypatch.setattr(compaction, "TARGET_BYTES", 128 * 1024 * 1024)
    compact(home.settings, later)
    first = names(home)
    land_small_files(home, LEAST_PARTS - 1, first=100)

    assert compact(home.settings, later).segments == 0  # one large and too few small ones
    assert set(first) < set(names(home))


@pytest.mark.parametrize("step", ["write", "commit", "unlink"])
def test_a_kill_on_the_way_is_finished_next_time(
    home: Home, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    land_small_files(home)
    rows = home.query(ROWS)

    class KilledError(Exception):
        pass

    def die(*_: Any, **__: Any) -> None:
        raise KilledError

    with monkeypatch.context() as patched:
        target: Any = {"write": Verdicts, "commit": compaction, "unlink": Path}[step]
        patched.setattr(target, step, die)
        if step == "unlink":  # the last part of a compaction is to remove its parts
            patched.setattr(compaction, "remove_aside", lambda _: None)
        with pytest.raises(KilledError):
            compact(home.settings, later)
    compact(home.settings, later)

    assert len(names(home)) == 1
    assert home.query(ROWS) == rows
    (segment,) = find_segments(home.settings.raw_folder)
    assert len(read_origins(segment)) == LEAST_PARTS
