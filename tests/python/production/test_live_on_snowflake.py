"""Schema `live` beside marts that are published on Snowflake, from raw segments of this host."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest
from conftest import Account
from copied_builds import clear_published, copy_build
from landing_zone import NOW, Home, event, line

from larder.live import Live, remember_contained
from larder.serving.generations import generations
from larder.serving.reading import run_query

STOCK = "fridge/stock_events"


@pytest.fixture
def home(account: Account, compiled_live: Path, tmp_path: Path) -> Home:
    settings = account.settings(tmp_path / "home", tmp_path / "home.key")
    shutil.copytree(compiled_live, settings.live_folder)
    clear_published(settings)
    return Home(settings)


def build_and_publish(home: Home, aside: Path) -> None:
    """Build by hand what a build makes of all segments, on the account, and publish it."""
    raw = home.settings.raw_folder
    segments = [path.relative_to(raw).as_posix() for path in raw.glob("*/*/*/*.parquet")]
    database = aside / "build.duckdb"
    with duckdb.connect(str(database)) as connection:
        connection.execute("create schema raw; create schema marts")
        connection.execute("create table raw.segments (segment varchar)")
        connection.executemany("insert into raw.segments values (?)", [[one] for one in segments])
        connection.execute("create table marts.fct_sales as select 'L1' as location_id")
    copy_build(database, home.settings, aside / "copied", ["raw", "marts"])
    published = generations(home.settings)
    generation = published.publish(home.settings, NOW + timedelta(hours=1)).generation
    remember_contained(home.settings, generation, published.list_generations(home.settings))


def test_live_events_stand_beside_copies_of_the_marts(home: Home, tmp_path: Path) -> None:
    home.land(f"{STOCK}/a.ndjson", line(event(1)))
    home.load()
    build_and_publish(home, tmp_path)
    home.land(f"{STOCK}/b.ndjson", line(event(2, customer_id="customer-anna")))
    home.load()
    sql = (
        "select event_id, customer_key, sales.location_id from live.stock_events "
        "inner join fct_sales as sales using (location_id)"
    )
    result = run_query(home.settings, sql, fill=Live(home.settings, sql).fill)
    ((event_id, customer_key, location_id),) = result.rows
    assert (event_id, location_id) == ("e2", "L1")
    assert len(str(customer_key)) == 32
