"""The vans of the sample network: what they report agrees with where they really were."""

from __future__ import annotations

import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from math import asin, cos, hypot, radians, sin, sqrt
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
from landing_zone import Home
from sample_networks import Sample, only

from loaders.landing import find_files
from loaders.readers.streams import open_plain
from loaders.sample.catalogue import make_world
from loaders.sample.geofences import make_fences
from loaders.sample.network import SampleOptions
from loaders.sample.rounds import MOST_STOPS, drive_day

MINUTE = timedelta(minutes=1)
Point = tuple[float, float]


@dataclass(frozen=True)
class Told:
    """One event as a receiver understands it."""

    event_id: str | None
    at: datetime
    kind: str
    driver: str
    trip_id: str
    point: tuple[Any, Any]
    geofence_id: str | None
    shape: str


def bodies(landing: Path) -> Iterator[dict[str, Any]]:
    for file in find_files(landing):
        if file.entity and file.entity.path == "trips/trip_events":
            with open_plain(file.path, file.compression) as stream:
                text = stream.read().decode()
            yield from (
                json.loads(text)
                if file.file_format == ".json"
                else map(json.loads, text.splitlines())
            )


def understood(body: dict[str, Any]) -> Iterator[Told]:
    """Read the three shapes of the contract."""
    if "created_at" in body:
        place = body["location"]["coordinates"]
        point = (place["longitude"], place["latitude"])
        events = [(body, body.get("id"), body["created_at"], body["_id"], body["trip"], point)]
    else:
        several = body.get("events") or [body["event"]]
        users = [event.get("user") or body["user"] for event in several]
        events = [
            (event, event.get("_id"), event["createdAt"], user["_id"], user["trip"],
             tuple(event["location"]["coordinates"]))
            for event, user in zip(several, users, strict=True)
        ]  # fmt: skip
    shape = "flat" if "created_at" in body else "several" if "events" in body else "nested"
    for event, event_id, at, driver, trip, point in events:
        yield Told(
            event_id, datetime.fromisoformat(at).replace(tzinfo=None), event["type"], driver,
            trip["_id"], point, event.get("geofence", {}).get("externalId"), shape,
        )  # fmt: skip


def metres(first: Point, second: Point) -> float:
    """Haversine (Sinnott 1984) on a sphere of 6,371 km."""
    (east, north), (to_east, to_north) = first, second
    half = (
        sin(radians(to_north - north) / 2) ** 2
        + cos(radians(north)) * cos(radians(to_north)) * sin(radians(to_east - east) / 2) ** 2
    )
    return 2 * 6_371_000 * asin(sqrt(half))


def holds(fence: dict[str, Any], point: Point, more: float) -> bool:
    """Tell whether a fence, larger by some metres, holds a point."""
    if "radius_metres" in fence:
        return metres(tuple(fence["centre"]), point) <= float(fence["radius_metres"]) + more
    ring = fence["polygon"]["coordinates"][0]
    assert ring[0] == ring[-1]
    west, east = min(x for x, _ in ring), max(x for x, _ in ring)
    south, north = min(y for _, y in ring), max(y for _, y in ring)
    margin = more / 111_195
    is_between = west - margin * 1.5 <= point[0] <= east + margin * 1.5
    return bool(is_between and south - margin <= point[1] <= north + margin)


@pytest.fixture(scope="module")
def told(medium: Sample) -> list[Told]:
    """Every event once, in order of time."""
    events = {event for body in bodies(medium[0]) for event in understood(body)}
    return sorted(events, key=lambda one: (one.trip_id, one.at, one.kind))


@pytest.fixture(scope="module")
def blemished(medium: Sample) -> dict[str, str]:
    rows = pq.read_table(medium[1] / "blemished_positions.parquet").to_pylist()
    return {row["event_id"]: row["blemish"] for row in rows}


@pytest.fixture(scope="module")
def good(told: list[Told], blemished: dict[str, str]) -> dict[str, list[Told]]:
    """What is right, by trip."""
    trips: dict[str, list[Told]] = defaultdict(list)
    for event in told:
        if event.event_id is not None and event.event_id not in blemished:
            place = (float(event.point[0]), float(event.point[1]))
            trips[event.trip_id].append(Told(**(vars(event) | {"point": place})))
    return trips


@pytest.fixture(scope="module")
def fences(medium: Sample) -> dict[str, dict[str, Any]]:
    lines = (medium[0] / "trips/geofences/geofences.ndjson").read_text().splitlines()
    return {fence["geofence_id"]: fence for fence in map(json.loads, lines)}


class TestWhatIsReported:
    def test_fence_events_agree_with_the_positions(
        self, good: dict[str, list[Told]], fences: dict[str, dict[str, Any]]
    ) -> None:
        checked: Counter[str] = Counter()
        for event in (event for trip in good.values() for event in trip):
            if event.geofence_id is None:
                continue
            fence = fences[event.geofence_id]
            if event.kind == "user.exited_geofence":
                assert not holds(fence, event.point, -1)
            elif event.kind != "user.approaching_trip_destination":
                assert holds(fence, event.point, 1), event
            checked[event.kind] += 1
        assert len(checked) == 5
        assert min(checked.values()) > 100

    def test_each_true_stop_is_reported_within_a_minute(
        self, medium: Sample, good: dict[str, list[Told]]
    ) -> None:
        stops = 0
        for visit in pq.read_table(medium[1] / "visits.parquet").to_pylist():
            if not visit["is_stop"]:
                continue
            stops += 1
            seen = {
                kind: [
                    event.at
                    for event in good[visit["trip_id"]]
                    if event.geofence_id == visit["geofence_id"] and event.kind == f"user.{kind}"
                ]
                for kind in ("entered_geofence", "exited_geofence", "arrived_at_trip_destination")
            }
            late = MINUTE + timedelta(seconds=1)
            # noise of the satellites may show a van a few metres, hence a second, too early
            early = visit["entered_at"] - timedelta(seconds=5)
            assert any(early <= at <= visit["entered_at"] + late for at in seen["entered_geofence"])
            early = visit["exited_at"] - timedelta(seconds=5)
            assert any(early <= at <= visit["exited_at"] + late for at in seen["exited_geofence"])
            (arrived,) = seen["arrived_at_trip_destination"]
            assert visit["entered_at"] < arrived < visit["exited_at"]
            assert 4 * MINUTE < visit["exited_at"] - visit["entered_at"] < 12 * MINUTE
        assert stops > 150

    def test_a_trip_starts_once_and_stops_once(self, good: dict[str, list[Told]]) -> None:
        for trip in good.values():
            kinds = [event.kind for event in trip]
            assert kinds[0] == "user.started_trip"
            assert kinds[-1] == "user.stopped_trip"
            assert Counter(kinds)["user.started_trip"] == Counter(kinds)["user.stopped_trip"] == 1

    def test_a_van_reports_at_least_each_minute_and_keeps_to_a_plausible_speed(
        self, told: list[Told], good: dict[str, list[Told]]
    ) -> None:
        fastest = 0.0
        for trip in good.values():
            for first, second in pairwise(trip):
                seconds = (second.at - first.at).total_seconds()
                if seconds < 1:
                    assert first.point == second.point
                    continue
                fastest = max(fastest, metres(first.point, second.point) / seconds * 3.6)
        assert 50 < fastest < 90
        of_trip = defaultdict(list)
        for event in told:
            if event.at.year < 2020:
                of_trip[event.trip_id].append(event.at)
        gaps = [
            (second - first).total_seconds()
            for moments in of_trip.values()
            for first, second in pairwise(moments)
        ]
        assert max(gaps) < 150  # a position whose clock is wrong leaves a gap
        assert np.mean([gap > 75 for gap in gaps]) < 0.01

    def test_positions_are_as_far_apart_as_the_way_was_long(
        self, medium: Sample, good: dict[str, list[Told]]
    ) -> None:
        for trip in pq.read_table(medium[1] / "trips.parquet").to_pylist():
            points = [event.point for event in good[trip["trip_id"]]]
            way = sum(metres(*pair) for pair in pairwise(points))
            # shorter by corners that were cut, longer by the satellites' noise
            assert way == pytest.approx(trip["distance_metres"], rel=0.1)
            assert good[trip["trip_id"]][0].at == trip["started_at"]

    def test_wherever_something_is_restocked_a_van_has_stopped_that_day(
        self, medium: Sample, network: duckdb.DuckDBPyConnection
    ) -> None:
        deliveries, missed, needless = only(
            network,
            f"""
            with delivered as (
                select distinct location_id, local_at::date::varchar as date
                from events where kind = 'restocked' and local_at >= '2019-04-03'
            ),
            stopped as (
                select distinct location_id, date
                from '{medium[1]}/visits.parquet' join '{medium[1]}/trips.parquet' using (trip_id)
                where is_stop
            )
            select (select count(*) from delivered),
                (select count(*) from (from delivered except from stopped)),
                (select count(*) from (from stopped except from delivered))
            """,
        )
        assert deliveries > 150
        assert (missed, needless) == (0, 0)

    def test_a_driver_keeps_a_route_on_most_days(
        self, medium: Sample, good: dict[str, list[Told]]
    ) -> None:
        drivers: dict[str, Counter[str]] = defaultdict(Counter)
        for trip in pq.read_table(medium[1] / "trips.parquet").to_pylist():
            drivers[trip["route_id"]][good[trip["trip_id"]][0].driver] += 1
        assert len(drivers) > 5
        for counts in drivers.values():
            assert counts.most_common(1)[0][1] / counts.total() > 0.6
        assert any(len(counts) > 1 for counts in drivers.values())
        assert len({driver for counts in drivers.values() for driver in counts}) > len(drivers)


class TestBlemishes:
    def test_they_are_few_and_all_kinds_are_there(
        self, told: list[Told], blemished: dict[str, str]
    ) -> None:
        assert set(blemished.values()) == {
            "zero", "empty", "jump", "out_of_range", "future", "no_id",
        }  # fmt: skip
        assert len(blemished) / len(told) < 0.02
        for event in told:
            blemish = blemished.get(event.event_id or "")
            if blemish == "zero":
                assert [float(one) for one in event.point] == [0, 0]
            elif blemish == "empty":
                assert event.point == ("", "")
            elif blemish == "out_of_range":
                assert not -90 <= float(event.point[1]) <= 90
            assert (blemish == "future") == (event.at.year > 2019)

    def test_all_shapes_late_files_and_double_sends_are_there(
        self, medium: Sample, told: list[Told]
    ) -> None:
        shapes = Counter(event.shape for event in told)
        assert set(shapes) == {"nested", "several", "flat"}
        assert shapes["nested"] > 0.6 * len(told)
        late = (medium[0] / "trips/trip_events/2019-04-28-out-of-coverage.ndjson").read_text()
        assert '"createdAt":"2019-04-27T' in late
        again = [event.event_id for body in bodies(medium[0]) for event in understood(body)]
        counts = Counter(event_id for event_id in again if event_id)
        assert sum(count > 1 for count in counts.values()) > 40

    def test_raw_takes_every_event_once_and_rejects_none(
        self, medium: Sample, home: Home, told: list[Told]
    ) -> None:
        shutil.copytree(medium[0] / "trips", home.settings.landing_folder / "trips")
        home.load()
        assert home.rejections() == []
        assert len(set(home.keys("trips/trip_events"))) == len(told) > 5_000
        assert len(home.keys("trips/geofences")) == 8 + 6


class TestRounds:
    def test_many_stops_of_a_route_are_shared_out_among_vans(self) -> None:
        world = make_world(SampleOptions(days=1, locations=300))
        fences = make_fences(world)
        everywhere = world.has_stock_events.astype(np.int64)
        rounds = drive_day(world, fences, 0, everywhere)
        assert max(one.stops.size for one in rounds) <= MOST_STOPS
        stopped = np.sort(np.concatenate([one.fences.location_rows[one.stops] for one in rounds]))
        assert stopped.tolist() == np.flatnonzero(everywhere).tolist()
        assert all(
            one.route_id == world.locations[one.fences.location_rows[stop]].route_id
            for one in rounds
            for stop in one.stops
        )

    def test_the_true_visits_are_those_of_a_walk_along_the_path(self) -> None:
        """The crossings in closed form against a step every second."""
        world = make_world(SampleOptions(days=1, locations=70))
        fences = make_fences(world)
        compared = 0
        for one in drive_day(world, fences, 0, world.has_stock_events.astype(np.int64)):
            seconds = np.arange(one.corner_ms[0], one.corner_ms[-1], 1000)
            walked = np.stack(
                [np.interp(seconds, one.corner_ms, one.corners[:, axis]) for axis in (0, 1)], axis=1
            )
            inside = one.fences.hold(np.arange(len(one.fences.geofence_ids)), walked)
            truth = np.zeros_like(inside)
            for visit in one.visits():
                until = visit.exited_ms if visit.exited_ms >= 0 else one.corner_ms[-1]
                truth[(seconds >= visit.entered_ms) & (seconds <= until), visit.fence] = True
                compared += 1
            assert (inside != truth).sum() <= 2 * len(one.visits())
        assert compared > 50

    def test_a_van_goes_from_one_stop_to_a_near_one(self) -> None:
        world = make_world(SampleOptions(days=1, locations=300))
        ways, shuffled = 0.0, 0.0
        rng = np.random.default_rng(1)
        for one in drive_day(world, make_fences(world), 0, world.has_stock_events.astype(np.int64)):
            at = one.fences.centres
            for order, is_shuffled in ((one.stops, False), (rng.permutation(one.stops), True)):
                points = at[[-1, *order, -1]]
                way = sum(hypot(*step) for step in np.diff(points, axis=0))
                ways, shuffled = ways + way * (not is_shuffled), shuffled + way * is_shuffled
        assert ways < 0.8 * shuffled
