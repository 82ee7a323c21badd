"""Erase a customer of the sample network from all that was made of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from warehouse_homes import NOW, settings_of

from larder.settings import Settings
from loaders.erasing import erase


@pytest.fixture
def own_home(built_home: Settings, tmp_path: Path) -> Settings:
    """A copy of the built sample, with the key of its vault."""
    settings: Settings = settings_of(tmp_path / "warehouse")
    shutil.copytree(built_home.home, settings.home, symlinks=True)
    shutil.copy2(built_home.key_file, settings.key_file)
    return settings


def busiest_customer(settings: Settings) -> str:
    """Return whoever has the most stock events, so that every kind of file holds them."""
    pattern = settings.raw_folder / "fridge/stock_events/*/*.parquet"
    with duckdb.connect() as connection:
        rows = connection.execute(
            "select payload->>'customer_id' as customer_id from read_parquet($1) "
            "where customer_id is not null and rejection_reason is null "
            "group by all order by count(*) desc, customer_id limit 1",
            [str(pattern)],
        ).fetchall()
    return str(rows[0][0])


def test_no_trace_of_a_sample_customer_is_left_and_all_others_are(own_home: Settings) -> None:
    customer = busiest_customer(own_home)
    tastes = own_home.truth_folder / "tastes.parquet"
    before = pq.read_table(tastes)
    truth = {file.name: file.read_bytes() for file in own_home.truth_folder.iterdir()}

    report = erase(own_home, customer, lambda: NOW)

    assert (report.traces, report.unsearchable) == ([], [])
    assert report.was_known
    assert (report.truth_files, report.tables > 0) == (1, True)
    others = [row for row in before.to_pylist() if row["customer_id"] != customer]
    assert len(others) < before.num_rows
    assert pq.read_table(tastes).to_pylist() == others
    assert pq.read_schema(tastes) == before.schema
    left = {file.name: file.read_bytes() for file in own_home.truth_folder.iterdir()}
    assert left.keys() == truth.keys()
    assert [name for name in truth if left[name] != truth[name]] == ["tastes.parquet"]
    assert customer not in str(report)

    again = erase(own_home, customer, lambda: NOW)
    assert (again.truth_files, again.traces) == (0, [])


def test_a_damaged_file_of_the_truth_is_said_not_to_be_proven(own_home: Settings) -> None:
    damaged = own_home.truth_folder / "tastes.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-20])

    report = erase(own_home, busiest_customer(own_home), lambda: NOW)

    assert report.unsearchable == ["truth/tastes.parquet"]
