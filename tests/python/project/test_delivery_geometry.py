"""Real positions of buses: ways and visits against plain Python with other formulas."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from dbt_client import WITHOUT_TESTS, Dbt

from larder.settings import PROJECT_ROOT, Settings
from loaders.load import load

BUSES = PROJECT_ROOT.parent / "shared" / "data" / "bus_positions.parquet"
EARTH_METRES = 6_371_008.8
GAP = timedelta(seconds=600)
MOST_KMH = 200
FENCES = 60

Position = tuple[datetime, float, float]
Corners = list[tuple[float, float]]


def vector(latitude: float, longitude: float) -> Any:
    north, east = np.radians(latitude), np.radians(longitude)
    return np.array([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)])


def metres(one: Position, other: Position) -> float:
    """Give the arc over the chord between two points of the sphere."""
    chord = np.linalg.norm(vector(*one[1:]) - vector(*other[1:]))
    return float(2 * EARTH_METRES * np.arcsin(chord / 2))


def winds_around(latitude: float, longitude: float, corners: Corners) -> bool:
    """Tell by the sum of the angles whether a simple polygon goes around a point."""
    seen = np.array(corners) - [latitude, longitude]
    angles = np.arctan2(seen[:, 0], seen[:, 1])
    turns = (np.diff(np.append(angles, angles[0])) + np.pi) % (2 * np.pi) - np.pi
    return bool(abs(turns.sum()) > np.pi)


def visits(track: list[Position], inside: list[bool]) -> list[tuple[datetime, datetime | None]]:
    """Walk along a track, position by position."""
    found: list[tuple[datetime, datetime | None]] = []
    entered: datetime | None = None
    for at, (moment, *_) in enumerate(track):
        silent = at > 0 and moment - track[at - 1][0] > GAP
        if entered is not None and (silent or not inside[at]):
            found.append((entered, track[at - 1][0] if silent else moment))
            entered = None
        if inside[at] and entered is None:
            entered = moment
    return [*found, *([(entered, None)] if entered is not None else [])]


def fences(chance: np.random.Generator, places: list[Position]) -> list[dict[str, Any]]:
    """Return circles and star-shaped polygons around places where buses were."""
    records = []
    for number in range(FENCES):
        _, latitude, longitude = places[chance.integers(len(places))]
        record: dict[str, Any] = {
            "geofence_id": f"fence-{number}",
            "geofence_name": f"Fence {number}",
            "updated_at": "2020-01-01T00:00:00Z",
        }
        size = 10 ** chance.uniform(1.5, 4.5)  # from 30 m to 30 km
        if number % 2:
            record |= {"centre": [longitude, latitude], "radius_metres": round(size, 3)}
        else:
            turns = np.sort(chance.uniform(0, 2 * np.pi, chance.integers(5, 12)))
            reach = np.degrees(size / EARTH_METRES) * chance.uniform(0.2, 1, len(turns))
            norths, easts = latitude + reach * np.sin(turns), longitude + reach * np.cos(turns)
            ring = np.round(np.column_stack([easts, norths]), 6).tolist()
            record["polygon"] = {"type": "Polygon", "coordinates": [ring]}
        records.append(record)
    return records


def holds(fence: dict[str, Any], position: Position) -> bool:
    """Tell whether a position is in a fence."""
    if "polygon" in fence:
        ring = [(north, east) for east, north in fence["polygon"]["coordinates"][0]]
        return winds_around(position[1], position[2], ring)
    east, north = fence["centre"]
    radius: float = fence["radius_metres"]
    return metres(position, (position[0], round(north, 6), round(east, 6))) <= radius


def test_ways_and_visits_are_those_of_plain_python(dbt: Dbt, tmp_path: Path) -> None:
    if not BUSES.exists():
        pytest.skip(f"{BUSES} is not there")
    settings = Settings(home=tmp_path / "home", key_file=tmp_path / "key")
    with duckdb.connect() as connection:
        rows = connection.execute(
            "select id::varchar, trip_id::varchar, vehicle_id::varchar, timestamp, "
            f"round(latitude, 6), round(longitude, 6) from '{BUSES}' order by trip_id, id"
        ).fetchall()
    fenced = fences(np.random.default_rng(5), [row[3:] for row in rows])
    events = [
        {"id": name, "created_at": f"{at.isoformat()}Z", "type": "user.updated_trip", "_id": bus,
         "location": {"coordinates": [longitude, latitude]}, "trip": {"_id": trip}}
        for name, trip, bus, at, latitude, longitude in rows
    ]  # fmt: skip
    for entity, records in (("trip_events", events), ("geofences", fenced)):
        file = settings.landing_folder / "trips" / entity / "all.ndjson"
        file.parent.mkdir(parents=True)
        file.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    load(settings, lambda: datetime.now(UTC))
    built = dbt.run(
        settings.home, "build", "--select", "+fct_geofence_visits", "+fct_trips", *WITHOUT_TESTS
    )
    assert built.success, (built.message, built.problems)
    with duckdb.connect(str(settings.build_database), read_only=True) as connection:
        good = connection.execute(
            "select trip_id, occurred_at, latitude, longitude from marts.fct_trip_events "
            "where position_flag = 'good' order by trip_id, occurred_at, event_id"
        ).fetchall()
        trips = connection.execute(
            "select trip_id, distance_metres, max_speed_kmh, gap_count from marts.fct_trips"
        ).fetchall()
        found = connection.execute(
            "select trip_id, geofence_id, entered_at, exited_at from marts.fct_geofence_visits"
        ).fetchall()

    tracks: dict[str, list[Position]] = {}
    for trip, *position in good:
        tracks.setdefault(trip, []).append(tuple(position))
    assert len(good) > 0.95 * len({(row[1], *row[3:]) for row in rows})
    assert {trip for trip, *_ in trips} == tracks.keys()
    for trip, distance, top_kmh, gaps in trips:
        legs = [
            (metres(one, other), (other[0] - one[0]).total_seconds())
            for one, other in pairwise(tracks[trip])
        ]
        speeds = [3.6 * far / max(seconds, 1) for far, seconds in legs]
        driven = [far for (far, _), kmh in zip(legs, speeds, strict=True) if kmh <= MOST_KMH]
        assert distance == pytest.approx(sum(driven), rel=1e-6)
        assert top_kmh == pytest.approx(max(kmh for kmh in speeds if kmh <= MOST_KMH), rel=1e-5)
        assert gaps == sum(seconds > GAP.total_seconds() for _, seconds in legs)
    expected = {
        (trip, fence["geofence_id"], *visit)
        for trip, track in tracks.items()
        for fence in fenced
        for visit in visits(track, [holds(fence, position) for position in track])
    }
    assert len(expected) > 100
    assert set(found) == expected
    assert len(found) == len(expected)
