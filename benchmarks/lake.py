"""What does a lake cost the host when its tables come from Snowflake?

Two sample networks of the same age are built and published, on DuckDB and on the emulated Snowflake
of the tests, and a lake is written of each: seconds of this machine's processors without those of
the emulator, which is a process of its own, and the most memory. `benchmarks.scale` counts with the
seconds (`LAKE` there): put them in when they change.

`--hours 5000` instead measures a fact that is cut by process hour: the first publication, one in
which nothing has changed, one with an hour more, and a reader of one hour.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.dataset as ds

from benchmarks.homes import make_home, now
from benchmarks.scale_measured import peak_bytes
from larder.build import build
from larder.serving.generations import generations
from larder.serving.lake import bring_up_to_date, open_table
from larder.settings import PROJECT_ROOT, Settings
from loaders.load import load
from loaders.sample.network import SampleOptions

EMULATED = PROJECT_ROOT / "tests" / "python" / "production"
ENTITY = "fridge/stock_events"
PLACES = (35, 280)
EVENTS_OF_HOURS = """
create table marts.fct_trip_events as select
    md5(number::varchar) as event_id, md5((number // 500)::varchar) as trip_id,
    md5((number % 97)::varchar) as driver_key, 'user.updated_trip' as event_type,
    'good' as position_flag, 36.9 + sin(number) / 50 as latitude, -120.3 + cos(number) / 50
    as longitude, timestamp '2026-01-01' + to_hours((number // {events})::integer) as occurred_at,
    timestamp '2026-01-01' + to_hours((number // {events})::integer) as process_hour
from range({first} * {events}, ({first} + {hours}) * {events}) as numbers(number)
"""
MEMORY_LIMIT = "200MB"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what a lake costs, from either engine, for a small network and a larger one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=20)
    parser.add_argument("--hours", type=int, help="Measure a fact of so many process hours.")
    parser.add_argument("--events", type=int, default=400, help="With --hours: events an hour.")
    parser.add_argument("--write", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.write:
        print(json.dumps(_write(Settings.model_validate_json(options.write))))
        return
    if options.hours:
        _by_hour(options.hours, options.events)
        return
    sys.path.insert(0, str(EMULATED))
    from conftest import emulated_account
    from copied_builds import copy_build

    for places in PLACES:
        with tempfile.TemporaryDirectory(prefix="larder-lake-") as name:
            folder = Path(name)
            here = make_home(folder / "here", SampleOptions(days=options.days, locations=places))
            events = load(here, now).entities[ENTITY].records
            build(here)
            generations(here).publish(here, now())
            (folder / "account").mkdir()
            with emulated_account(folder / "account") as account:
                there = account.settings(folder / "there", folder / "key")
                there.home.mkdir()
                copy_build(here.build_database, there, folder / "copied", ["marts"])
                generations(there).publish(there, now())
                for engine, settings in (("DuckDB", here), ("Snowflake", there)):
                    _report(engine, events, _measure(settings, folder / f"lake of {engine}"))


def _report(engine: str, events: int, found: dict[str, Any]) -> None:
    print(
        f"{engine}: {found['seconds']:.2f} s for {events:,} events in {found['rows']:,} rows "
        f"({found['bytes'] / 1e6:.1f} MB), {found['peak_bytes'] / 1e6:.0f} MB of memory",
        flush=True,
    )


def _measure(settings: Settings, lake: Path) -> dict[str, Any]:
    """Write a lake in a process of its own, whose seconds and memory are nobody else's."""
    told = settings.model_copy(update={"lake": str(lake), "memory_limit": MEMORY_LIMIT})
    finished = subprocess.run(
        [sys.executable, "-m", "benchmarks.lake", "--write", told.model_dump_json()],
        cwd=PROJECT_ROOT,
        env=os.environ,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(finished.stdout)
    return found


def _by_hour(hours: int, events: int) -> None:
    """Publish events of so many hours, again, and with an hour more; then read one hour."""
    with tempfile.TemporaryDirectory(prefix="larder-lake-") as name:
        lake = Path(name) / "lake"
        settings = Settings(home=Path(name) / "home", landing=None, as_of=None, lake=str(lake))
        settings.home.mkdir()
        with duckdb.connect(str(settings.build_database)) as connection:
            connection.execute("create schema marts")
            connection.execute(EVENTS_OF_HOURS.format(first=0, hours=hours, events=events))
        for what, more in (("first", 0), ("nothing new", 0), ("an hour more", 1)):
            if more:
                with duckdb.connect(str(settings.build_database)) as connection:
                    connection.execute(
                        "insert into marts.fct_trip_events "
                        + EVENTS_OF_HOURS.partition(" as ")[2].format(
                            first=hours, hours=1, events=events
                        )
                    )
            generations(settings).publish(settings, now())
            there = set(lake.rglob("*.parquet"))
            found = _measure(settings, lake)
            written = set(lake.rglob("*.parquet")) - there
            print(
                f"{what}: {found['seconds']:.2f} s for {found['rows']:,} rows, {len(written):,} of "
                f"{hours + more:,} files written, {found['bytes'] / 1e6:.1f} MB, manifest "
                f"{(lake / 'current.json').stat().st_size / 1e6:.1f} MB",
                flush=True,
            )
        started = time.process_time()
        hour = ds.field("process_hour") == "2026-01-05T03"
        rows = len(open_table(str(lake), "fct_trip_events").to_table(filter=hour))
        print(f"one hour read: {time.process_time() - started:.2f} s for {rows:,} rows")


def _write(settings: Settings) -> dict[str, Any]:
    started = time.process_time()
    made = bring_up_to_date(settings)
    seconds = time.process_time() - started
    assert made is not None
    return {
        "seconds": seconds,
        "rows": sum(table.rows for table in made.tables),
        "bytes": sum(file.size_bytes for table in made.tables for file in table.files),
        "peak_bytes": peak_bytes(),
    }


if __name__ == "__main__":
    main()
