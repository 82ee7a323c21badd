"""SQLite files that several processes write at once."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from loaders.sqlite import open_shared

OPENERS = 4


def test_those_who_open_a_new_file_at_once_all_write_it(tmp_path: Path) -> None:
    failed: list[Exception] = []
    start = threading.Barrier(OPENERS)

    def write(path: Path) -> None:
        start.wait()
        try:
            with closing(open_shared(path, busy_seconds=30)) as connection:
                connection.execute("create table if not exists written (number integer)")
                connection.execute("insert into written values (1)")
        except sqlite3.Error as error:
            failed.append(error)

    for number in range(40):
        path = tmp_path / f"{number}.sqlite"
        threads = [threading.Thread(target=write, args=(path,)) for _ in range(OPENERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("select count(*) from written").fetchone() == (OPENERS,)
    assert failed == []


def test_a_file_that_somebody_holds_is_waited_for_so_long_and_no_longer(tmp_path: Path) -> None:
    path = tmp_path / "held.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("create table held (number integer)")
        holder.execute("begin exclusive")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            open_shared(path, busy_seconds=0.05)


def test_a_file_that_is_none_of_sqlite(tmp_path: Path) -> None:
    path = tmp_path / "text.sqlite"
    path.write_text("no database" * 100, encoding="utf-8")
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        open_shared(path, busy_seconds=0.05)
