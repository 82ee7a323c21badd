"""Let vans bring what is restocked: geofences, webhooks of each day's trips, and their truth."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa

from loaders.sample.arrays import Integers
from loaders.sample.blemishes import LATE_DAY_BACK
from loaders.sample.catalogue import World
from loaders.sample.geofences import Fences, make_fences
from loaders.sample.landing_files import LandingFiles
from loaders.sample.planted import TruthFiles
from loaders.sample.rounds import Round, drive_day
from loaders.sample.webhooks import Driver, Told, Webhooks, instants

_ENTITY: Final = "trips/trip_events"
_ENDINGS: Final = (".ndjson", ".ndjson.gz", ".json", ".jsonl", ".ndjson.zst")
# Most vans send the nested body; the provider's older app sends the flat one.
_SHAPES: Final = ("nested",) * 8 + ("several", "flat")
_OWN_DRIVER: Final = 0.88
_SUBSTITUTES: Final = 2
_SENT_AGAIN: Final = 40


@dataclass
class Trips:
    """Drive the vans day by day, write what they send, and plant where they really were."""

    world: World
    files: LandingFiles
    truth: TruthFiles
    _regions: tuple[Fences, ...] = field(init=False)

    def __post_init__(self) -> None:
        self._regions = make_fences(self.world)
        write_geofences(self.world, self.files, self._regions)

    def add(self, day: int, restocked: Integers) -> None:
        """Write the trips of a local day that bring what is restocked [L, I]."""
        rounds = drive_day(self.world, self._regions, day, restocked.sum(axis=1))
        told, late = Told(), Told()
        is_late_day = day == max(self.world.options.days - LATE_DAY_BACK, 0)
        trip_ids = []
        for number, one in enumerate(rounds):
            rng = np.random.default_rng([self.world.options.seed, 13, day, number])
            trip_id = rng.bytes(10).hex()
            trip_ids.append(trip_id)
            driver = self._driver(one, rng)
            shape = _SHAPES[int(rng.integers(len(_SHAPES)))]
            sent = late if is_late_day and number == 0 else told
            Webhooks(one, trip_id, driver, shape).tell(sent, rng)
        on = self.world.date_of(day)
        ending = _ENDINGS[day % len(_ENDINGS)]
        for name, lines in (
            (f"{on}{ending}", told.in_order()),
            # the first van had no connection; what it kept came the day after, in part twice
            (f"{on + timedelta(days=1)}-out-of-coverage.ndjson", late.in_order()),
            (
                f"{on + timedelta(days=1)}-out-of-coverage-again.ndjson",
                late.in_order()[-_SENT_AGAIN:],
            ),
        ):
            if lines:
                self.files.write_text(f"{_ENTITY}/{name}", lines)
        if rounds:
            self._plant(on.isoformat(), trip_ids, rounds, told.blemished + late.blemished)

    def _driver(self, one: Round, rng: np.random.Generator) -> Driver:
        """Return who drives: the van's own driver on most days, else a substitute."""
        substitute = 0 if rng.random() < _OWN_DRIVER else 1 + int(rng.integers(_SUBSTITUTES))
        region, route = (int(part) for part in one.route_id.split("-")[1:])
        person = np.random.default_rng(
            [self.world.options.seed, 14, region, route, one.van, substitute]
        )
        return Driver(person.bytes(12).hex(), f"{person.integers(10**9):09d}")

    def _plant(
        self, on: str, trip_ids: list[str], rounds: list[Round], blemished: list[dict[str, str]]
    ) -> None:
        visits = [
            (trip_id, one.fences.geofence_ids[visit.fence], one.fences.location_ids[visit.fence],
             visit.fence in one.stops, visit.entered_ms, visit.exited_ms)
            for trip_id, one in zip(trip_ids, rounds, strict=True)
            for visit in one.visits()
        ]  # fmt: skip
        trip, fence, location, is_stop, entered, exited = zip(*visits, strict=True)
        self.truth.append(
            "visits",
            pa.table(
                {
                    "trip_id": pa.array(trip),
                    "geofence_id": pa.array(fence),
                    "location_id": pa.array(location, pa.string()),
                    "is_stop": pa.array(is_stop, pa.bool_()),
                    "entered_at": instants(list(entered)),
                    "exited_at": instants(list(exited)),
                }
            ),
        )
        self.truth.append(
            "trips",
            pa.table(
                {
                    "trip_id": trip_ids,
                    "route_id": [one.route_id for one in rounds],
                    "date": [on] * len(rounds),
                    "started_at": instants([int(one.corner_ms[0]) for one in rounds]),
                    "ended_at": instants([int(one.corner_ms[-1]) for one in rounds]),
                    "distance_metres": [one.distance_metres for one in rounds],
                    "stops": [one.stops.size for one in rounds],
                }
            ),
        )
        schema = pa.schema([("event_id", pa.string()), ("blemish", pa.string())])
        self.truth.append("blemished_positions", pa.Table.from_pylist(blemished, schema=schema))


def write_geofences(world: World, files: LandingFiles, regions: tuple[Fences, ...]) -> None:
    """Write every fence: circles with centre and radius, rectangles as GeoJSON polygons."""
    updated_at = f"{world.first_date - timedelta(days=29)}T00:00:00.000Z"
    lines = [
        msgspec.json.encode(
            {
                "geofence_id": fences.geofence_ids[row],
                "geofence_name": fences.names[row],
                "location_id": fences.location_ids[row],
                **_shape(fences, row),
                "updated_at": updated_at,
            }
        ).decode()
        for fences in regions
        for row in range(len(fences.geofence_ids))
    ]
    files.write_text("trips/geofences/geofences.ndjson", lines)


def _shape(fences: Fences, row: int) -> dict[str, Any]:
    centre, half = fences.centres[row], fences.half_sides[row]
    if not fences.is_rectangle[row]:
        return {
            "centre": fences.plane.degrees(centre).tolist(),
            "radius_metres": float(half[0]),
        }
    # anticlockwise and closed, as GeoJSON wants it
    ring = centre + half * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]])
    return {"polygon": {"type": "Polygon", "coordinates": [fences.plane.degrees(ring).tolist()]}}
