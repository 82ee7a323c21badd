from __future__ import annotations

import errno
import multiprocessing
import os
import random
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest
from serving_processes import (
    NOW,
    Reading,
    build_marts,
    die_on_demand,
    publish_for_ever,
    read_published,
    read_until,
    read_whole,
    settings_for,
)

from larder import warehouse
from larder.errors import WarehouseBusyError, WarehouseError
from larder.serving.publish import (
    describe_generation,
    generation_file,
    list_generations,
    publish,
    published_generation,
    rollback,
)
from larder.settings import Settings

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["__main__", "larder.serving.publish"])


def publish_version(settings: Settings, version: int, rows: int = 100) -> str:
    build_marts(settings, version, rows)
    return publish(settings, NOW + timedelta(minutes=version)).generation


def hidden_names(settings: Settings) -> list[str]:
    names = [entry.name for entry in settings.home.iterdir()]
    names += [entry.name for entry in settings.generations_folder.iterdir()]
    return sorted(
        name for name in names if name.startswith(".") and name not in (".lock", ".spill")
    )


def test_a_publication_holds_the_marts_and_says_so(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    build_marts(settings, 1, 100)

    publication = publish(settings, NOW, as_of_at=NOW - timedelta(hours=1))

    assert publication.generation == "20190430T220000000000Z-0000"
    assert [(table.name, table.rows) for table in publication.tables] == [
        ("fct_sales", 100),
        ("fct_waste", 100),
        ("rpt_sales", 100),
    ]
    assert publication.published_at == NOW
    assert publication.as_of_at == NOW - timedelta(hours=1)
    assert publication.replaced is None
    assert describe_generation(settings, publication.generation) == publication
    link = settings.published_database
    assert not link.readlink().is_absolute()
    assert link.resolve() == publication.path
    assert read_published(settings) == 1


def test_types_constraints_and_comments_survive(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    publish_version(settings, 1)
    query = (
        "select table_name, column_name, data_type, is_nullable, comment from duckdb_columns() "
        "where schema_name = 'marts' order by table_name, column_index"
    )

    with warehouse.open_build(settings) as connection:
        expected = connection.execute(query).fetchall()
    with warehouse.open_published(settings) as connection:
        assert connection.execute(query).fetchall() == expected
        tables = connection.execute(
            "select table_name, comment from duckdb_tables() where schema_name = 'marts' "
            "order by table_name"
        ).fetchall()
        schemas = connection.execute(
            "select distinct schema_name from duckdb_tables() where not internal"
        ).fetchall()

    assert ("fct_sales", "amount_usd", "DECIMAL(9,2)", True, "US dollars") in expected
    assert ("fct_sales", "sale_key", "BIGINT", False, None) in expected
    # the view has become a table, and nothing but the marts came along
    assert tables == [
        ("fct_sales", "One row per sale's item"),
        ("fct_waste", None),
        ("rpt_sales", None),
    ]
    assert sorted(schemas) == [("main",), ("marts",)]


def test_qualified_names_outlive_a_generation(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    for version in (1, 2):
        publish_version(settings, version)
        with duckdb.connect(str(settings.published_database), read_only=True) as connection:
            rows = connection.execute("select max(version) from larder.marts.fct_sales").fetchall()
        assert rows == [(version,)]


def test_the_home_folder_can_be_moved(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "before")
    publish_version(settings, 1)
    settings.home.rename(tmp_path / "after")
    assert read_published(settings_for(tmp_path / "after")) == 1


def test_the_last_three_generations_stay(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    names = [publish_version(settings, version) for version in range(1, 6)]
    assert list_generations(settings) == names[:1:-1]
    assert hidden_names(settings) == []


def test_names_sort_by_time_even_when_the_clock_stands_or_goes_back(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    build_marts(settings, 1, 1)
    names = [publish(settings, NOW - timedelta(days=day)).generation for day in (0, 0, 9)]
    assert names == [f"20190430T220000000000Z-000{counter}" for counter in range(3)]
    assert published_generation(settings) == names[-1]


def test_rollback_goes_back_one_step_and_the_next_publication_forgets_what_was_withdrawn(
    tmp_path: Path,
) -> None:
    settings = settings_for(tmp_path)
    first, second, third = (publish_version(settings, version) for version in (1, 2, 3))

    back = rollback(settings)
    assert (back.replaced, back.generation, read_published(settings)) == (third, second, 2)
    assert list_generations(settings) == [third, second, first]

    fourth = publish_version(settings, 4)
    assert list_generations(settings) == [fourth, second, first]
    assert read_published(settings) == 4
    # the generation before the fourth is the one that was good, not the one that was withdrawn
    assert rollback(settings).generation == second
    assert rollback(settings).generation == first
    with pytest.raises(WarehouseError, match=f"no generation before {first}"):
        rollback(settings)
    assert read_published(settings) == 1


def test_rollback_needs_a_publication(tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match="nothing is published yet"):
        rollback(settings_for(tmp_path))


def test_nothing_built_or_no_marts_leaves_the_link_alone(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    with pytest.raises(WarehouseError, match="nothing has been built yet"):
        publish(settings, NOW)
    name = publish_version(settings, 1)
    settings.build_database.unlink()
    with duckdb.connect(str(settings.build_database)) as connection:
        connection.execute("create schema marts; create table main.other as select 1 as one")
    with pytest.raises(WarehouseError, match="no tables in its schema marts"):
        publish(settings, NOW)
    assert published_generation(settings) == name
    assert hidden_names(settings) == []


def test_a_view_that_changes_between_readings_is_not_published(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    name = publish_version(settings, 1)
    with duckdb.connect(str(settings.build_database)) as connection:
        connection.execute("create sequence marts.readings")
        connection.execute(
            "create view marts.rpt_random as "
            "select range as number from range(100000) where random() < 0.5"
        )
    with pytest.raises(WarehouseError, match=r"marts\.rpt_random does not have the rows"):
        publish(settings, NOW)
    assert published_generation(settings) == name
    assert hidden_names(settings) == []


def test_a_view_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    name = publish_version(settings, 1)
    with duckdb.connect(str(settings.build_database)) as connection:
        connection.execute("create view marts.rpt_broken as select 'x'::integer as number")
    with pytest.raises(WarehouseError, match=r"marts\.rpt_broken cannot be read"):
        publish(settings, NOW)
    assert published_generation(settings) == name
    assert hidden_names(settings) == []


def test_a_full_disk_leaves_what_was_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(tmp_path)
    name = publish_version(settings, 1)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WarehouseError, match=r"No space left.*make room"):
        publish(settings, NOW)
    assert published_generation(settings) == name
    assert hidden_names(settings) == []


def test_somebody_elses_file_is_not_replaced(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    build_marts(settings, 1, 1)
    settings.published_database.write_text("mine", encoding="utf-8")
    with pytest.raises(WarehouseError, match="a file of its own"):
        publish(settings, NOW)
    assert settings.published_database.read_text(encoding="utf-8") == "mine"


def test_a_build_in_the_hands_of_another_process_is_busy(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    build_marts(settings, 1, 1)
    code = (
        "import duckdb, sys; connection = duckdb.connect(sys.argv[1]); print('open', flush=True); "
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(settings.build_database)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "open\n"
        with pytest.raises(WarehouseBusyError, match=f"PID {writer.pid}"):
            publish(settings, NOW)
    assert publish(settings, NOW).tables


def test_a_held_connection_stays_on_its_own_whole_generation(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    publish_version(settings, 1)
    with (
        duckdb.connect(str(settings.published_database), read_only=True) as tool,
        warehouse.open_published(settings) as ours,
    ):
        for version in range(2, 7):
            publish_version(settings, version)
            assert read_whole(tool) == 1
            assert read_whole(ours) == 1
            with warehouse.open_published(settings) as fresh:
                assert read_whole(fresh) == version


def test_readers_never_see_an_error_or_a_half_built_table_in_twenty_publications(
    tmp_path: Path,
) -> None:
    settings = settings_for(tmp_path)
    publish_version(settings, 1, 5_000)
    stop = PROCESSES.Event()
    readers = []
    for _ in range(2):
        results, sender = PROCESSES.Pipe(duplex=False)
        started = PROCESSES.Event()
        reader = PROCESSES.Process(target=read_until, args=(stop, started, tmp_path, sender))
        reader.start()
        readers.append((reader, started, results))
    try:
        assert all(started.wait(60) for _, started, _ in readers)
        for version in range(2, 22):
            publish_version(settings, version, 5_000 + version)
    finally:
        stop.set()
        readings: list[Reading] = [results.recv() for _, _, results in readers]
        for reader, _, _ in readers:
            reader.join()
    for reading in readings:
        assert reading.faults == ()
        assert reading.reads >= 20
        assert len(reading.versions) >= 5


def test_killed_before_any_step_the_link_is_whole_and_the_next_publication_sweeps(
    tmp_path: Path,
) -> None:
    settings = settings_for(tmp_path)
    for version in (1, 2, 3):
        publish_version(settings, version)
    build_marts(settings, 4, 100)
    orders, theirs = PROCESSES.Pipe()
    forker = PROCESSES.Process(target=die_on_demand, args=(tmp_path, theirs))
    forker.start()
    seen, step, exit_code = [], 0, -signal.SIGKILL
    while exit_code == -signal.SIGKILL:
        step += 1
        orders.send(step)
        exit_code = orders.recv()
        seen.append(read_published(settings))
        if seen[-1] == 4 and exit_code == -signal.SIGKILL:
            # take the switch back, so that every later step is tried from the same state
            rollback(settings)
            while read_published(settings) != 3:
                rollback(settings)
    assert exit_code == 0

    assert step > 10  # mkdir, three syncs, rename, symlink, replace, sync, sweep: each was tried
    assert {3, 4} == set(seen)

    publish_version(settings, 5)
    assert read_published(settings) == 5
    assert hidden_names(settings) == []
    assert len(list_generations(settings)) == 3


def test_killed_at_random_times_the_link_is_whole(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    publish_version(settings, 1)
    build_marts(settings, 2, 100_000)
    delays = random.Random(20190430)
    for _ in range(3):
        started = PROCESSES.Event()
        publisher = PROCESSES.Process(target=publish_for_ever, args=(started, tmp_path))
        publisher.start()
        assert started.wait(60)
        publisher.join(delays.uniform(0.02, 0.5))
        publisher.kill()
        publisher.join()
        assert publisher.exitcode == -signal.SIGKILL
        assert read_published(settings) in (1, 2)
        for name in list_generations(settings):
            with duckdb.connect(str(generation_file(settings, name)), read_only=True) as connection:
                read_whole(connection)
    publish_version(settings, 3)
    assert read_published(settings) == 3
    assert hidden_names(settings) == []
