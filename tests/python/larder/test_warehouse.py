from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import duckdb
import pytest

from larder import warehouse
from larder.errors import WarehouseBusyError, WarehouseError
from larder.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, landing=None, as_of=None, memory_limit="100MB")


def test_memory_spills_under_home_and_speaks_utc(settings: Settings) -> None:
    with warehouse.open_memory(settings) as connection:
        zone = connection.execute("select current_setting('TimeZone')").fetchall()
        connection.execute("set threads = 2")
        connection.execute(
            "create table big as select md5(range::varchar) as text from range(4_000_000)"
        )
        spilled = [path for path in (settings.home / ".spill").rglob("*") if path.is_file()]
        count = connection.execute("select count(*) from big").fetchall()
    assert zone == [("UTC",)]
    assert count == [(4_000_000,)]
    assert spilled
    assert list((settings.home / ".spill").iterdir()) == []
    assert (settings.home / ".spill").stat().st_mode & 0o077 == 0


def test_what_a_killed_process_spilled_is_removed_and_a_living_ones_is_not(
    settings: Settings,
) -> None:
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    host, root = socket.gethostname(), settings.home / ".spill"
    names = [f"{host}~{ended.pid}~build", f"{host}~1~build", f"elsewhere~{ended.pid}~build"]
    for name in names:
        (root / name).mkdir(parents=True)
    with warehouse.open_memory(settings):
        pass
    assert sorted(path.name for path in root.iterdir()) == sorted(names[1:])


def test_a_build_must_be_there_to_be_read(settings: Settings) -> None:
    with (
        pytest.raises(WarehouseError, match=r"nothing has been built yet.*`larder run`"),
        warehouse.open_build(settings),
    ):
        pass
    assert not settings.build_database.exists()
    with duckdb.connect(str(settings.build_database)) as connection:
        connection.execute("create table numbers as select 1 as number")
    with warehouse.open_build(settings) as connection:
        assert connection.execute("from numbers").fetchall() == [(1,)]
        with pytest.raises(duckdb.InvalidInputException, match="read-only"):
            connection.execute("drop table numbers")


def test_a_build_open_in_this_process_is_busy(settings: Settings) -> None:
    with (
        duckdb.connect(str(settings.build_database)),
        pytest.raises(WarehouseBusyError, match="in use by another program"),
        warehouse.open_build(settings),
    ):
        pass
    with (
        duckdb.connect(str(settings.build_database)),
        warehouse.open_memory(settings) as connection,
        pytest.raises(WarehouseBusyError, match="in use by another program"),
    ):
        warehouse.attach(connection, settings.build_database, "build", read_only=True)


@pytest.mark.parametrize("opener", [warehouse.open_published, warehouse.open_sandbox])
def test_published_marts_that_cannot_be_read_say_what_to_do(
    settings: Settings,
    opener: Callable[[Settings], AbstractContextManager[duckdb.DuckDBPyConnection]],
) -> None:
    def refusal() -> str:
        with pytest.raises(WarehouseError) as raised, opener(settings):
            pass
        return str(raised.value)

    assert "nothing is published yet" in refusal()
    settings.published_database.symlink_to("generations/one/larder.duckdb")
    assert "a generation that is gone" in refusal()
    file = settings.generations_folder / "one" / "larder.duckdb"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"not a database" * 1000)
    assert "cannot be opened" in refusal()


def test_sums_compare_rightly_after_a_left_join_to_nothing(settings: Settings) -> None:
    """DuckDB 2.0.0 says false here with all its optimisers on."""
    with warehouse.open_memory(settings) as connection:
        connection.execute(
            "create table taken as select i % 2 as item, i as units from range(6) t(i)"
        )
        connection.execute(
            "create table prices as select i as item, 'here' as place from range(2) t(i)"
        )
        rows = connection.execute(
            "select item, sum(units) > 0 from taken "
            "left join (select * from prices where place is null) as known using (item) "
            "group by item order by item"
        ).fetchall()
    assert rows == [(0, True), (1, True)]
