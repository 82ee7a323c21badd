"""What the models of trips find in the built sample network, against where its vans really were."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import duckdb
import pytest

from larder.settings import Settings

# A van reports every 30 to 60 seconds, and one position in a hundred is blemished: what happens
# between two good positions is known two reports late at most where one between them is lost.
LATE = timedelta(seconds=121)
# The satellites err by 4 m (standard deviation) in each direction, so a van that drives at 22 km/h
# or more seems to cross an edge some seconds early.
EARLY = timedelta(seconds=5)
# Shorter by the corners that are cut between two positions, longer by the satellites' error.
WAY = 0.1

Visits = dict[tuple[str, str], list[tuple[datetime, datetime | None]]]


@pytest.fixture(scope="module")
def built(built_home: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """The published marts, with what was planted as views true_trips and true_visits."""
    with duckdb.connect() as connection:
        connection.execute(f"attach '{built_home.published_database}' as home (read_only)")
        for name in ("trips", "visits"):
            file = built_home.truth_folder / f"{name}.parquet"
            connection.execute(f"create view true_{name} as select * from '{file}'")
        yield connection


def visits(connection: duckdb.DuckDBPyConnection, source: str) -> Visits:
    """Return trip and geofence → the visits there, in order."""
    found: Visits = defaultdict(list)
    for trip, fence, entered, exited in connection.execute(
        f"select trip_id, geofence_id, entered_at, exited_at from {source} order by all"
    ).fetchall():
        found[trip, fence].append((entered, exited))
    return found


def is_near(found: tuple[datetime, datetime | None], true: tuple[datetime, Any]) -> bool:
    """Tell whether a visit was found as late as positions can be, and no later.

    The last visit, of the yard, ends with the trip, which has no position outside.
    """
    if not -EARLY <= found[0] - true[0] <= LATE:
        return False
    return true[1] is None or (found[1] is not None and -EARLY <= found[1] - true[1] <= LATE)


@pytest.mark.parametrize("evidence", ["derived", "reported"])
def test_every_visit_is_found_as_late_as_positions_are(
    built: duckdb.DuckDBPyConnection, evidence: str
) -> None:
    true = visits(built, "true_visits")
    found = visits(
        built, f"(from home.marts.fct_geofence_visits where evidence = '{evidence}') as visits"
    )
    assert sum(len(those) for those in true.values()) > 50
    for key, those in found.items():
        for one in those:
            assert any(is_near(one, other) for other in true[key]), (key, one, true[key])
    for key, those in true.items():
        for one in those:
            # a van may drive through a fence between two reports
            is_sure = one[1] is None or one[1] - one[0] > LATE
            near = sum(is_near(other, one) for other in found.get(key, []))
            assert near == 1 or (near == 0 and not is_sure), (key, one, found.get(key))


def test_a_trip_is_as_long_as_it_was_and_stops_where_it_stopped(
    built: duckdb.DuckDBPyConnection,
) -> None:
    rows = built.execute(
        """
        select
            true_trips.distance_metres, fct_trips.distance_metres, true_trips.stops, stop_count,
            date_diff('millisecond', true_trips.started_at, true_trips.ended_at) / 1000,
            duration_seconds, stopped_seconds, is_over
        from true_trips
        left join home.marts.fct_trips as fct_trips using (trip_id)
        """
    ).fetchall()
    assert len(rows) > 20
    for true_metres, metres, stops, stop_count, true_seconds, seconds, stood, is_over in rows:
        assert metres == pytest.approx(true_metres, rel=WAY)
        # what the provider tells of the last position is told a millisecond apart
        assert seconds == pytest.approx(true_seconds, abs=0.01)
        # a stand lasts 4 to 9 minutes; seen of it are the legs between positions within it, and
        # the slow ones into and out of it
        assert stop_count == stops
        assert 180 <= stood / stops <= 9 * 60 + 2 * 60
        assert is_over
