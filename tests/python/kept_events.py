"""What became of events that were sent to a collector: in raw, or among the dead letters."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

import duckdb
from landing_zone import ARRIVED
from warehouse_homes import settings_of

from loaders.collector.segments import find_segments
from loaders.dead_letters import dead_letters
from loaders.load import load

MENU_EVENTS, TRIP_EVENTS = "menu/menu_events", "trips/trip_events"


def wait_until_landed(home: Path) -> None:
    """Wait until nothing is left in the spool."""
    until = time.monotonic() + 60
    while list(find_segments(home / "spool")):
        assert time.monotonic() < until, list(find_segments(home / "spool"))
        time.sleep(0.1)


def keys_in_raw(home: Path, entity: str = MENU_EVENTS, *, distinct: bool = False) -> Counter[str]:
    """Load what has landed, and return how often each key was taken, or in how many contents."""
    load(settings_of(home), lambda: ARRIVED)
    with duckdb.connect() as connection:
        rows = connection.execute(
            "select natural_key, count(*), count(distinct content_hash) "
            "from read_parquet(?, hive_partitioning = false) "
            "where rejection_reason is null group by natural_key",
            [str(home / "raw" / entity / "**" / "*.parquet")],
        ).fetchall()
    return Counter({key: contents if distinct else times for key, times, contents in rows})


def keys_in_dead_letters(home: Path, entity: str = MENU_EVENTS) -> Counter[str]:
    """Return how often each event is among the dead letters of what was loaded."""
    letters = dead_letters(settings_of(home), entity)
    return Counter(str(json.loads(letter.original)["event_id"]) for letter in letters)
