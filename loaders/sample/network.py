"""Write the sample network: real bakery demand replayed as events of a fridge network."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from larder.progress import Progress
from loaders.landing import find_files
from loaders.sample.arrays import EPOCH, MILLISECONDS_A_DAY
from loaders.sample.blemishes import LATE_DAY_BACK, write_blemishes
from loaders.sample.catalogue import PERSONAS, World, make_world
from loaders.sample.landing_files import LandingFiles, PeriodFiles
from loaders.sample.menus import Menus
from loaders.sample.options import SampleError, SampleOptions
from loaders.sample.people import (
    People,
    consent_versions,
    customer_versions,
    make_people,
    ratings,
)
from loaders.sample.planted import TruthFiles
from loaders.sample.records import Day
from loaders.sample.simulation import Simulation
from loaders.sample.surroundings import write_surroundings
from loaders.sample.tables import Tables
from loaders.sample.trips import Trips

__all__ = ["SampleError", "SampleOptions", "SampleSummary", "write_sample_network"]

MARKER_NAME: Final = "_sample_network.json"
"""Begins with an underscore: the loader does not see it."""
GENERATOR_VERSION: Final = 2
"""Raised whenever the same options give other bytes than before."""
DAILY_FILES: Final = 28
"""The newest days come one file a day, as they would; older ones a week at a time."""


@dataclass(frozen=True)
class SampleSummary:
    """Tell what lies in the landing zone: counts of files and records, local dates inclusive."""

    options: SampleOptions
    first_date: date
    last_date: date
    files: int
    records: dict[str, int]
    stock_events: int
    was_there: bool


def write_sample_network(
    landing: Path,
    truth: Path,
    options: SampleOptions,
    progress: Progress | None = None,
) -> SampleSummary:
    """Write the sample network into the landing zone and its planted truth beside it.

    The same options give the same bytes. A landing zone that already holds this sample is left
    as it is; one that an earlier call was stopped in is completed. `truth` gets
    `intensity.parquet` (location, item, date: wanted units a day), `policy.parquet` (what each
    evening's order rested on), `tastes.parquet` (customer, item: utility), `locations.parquet`
    (stocking bias, demand store), of the newest days `trips.parquet` (true distances),
    `visits.parquet` (when a van really was in which fence), `blemished_positions.parquet` (what is
    wrong with which event), `menus.parquet` (appeal of items, effects of positions, shares of
    sections) and `menu_sessions.parquet` (which are robots, which order), and `options.json`.
    Trips and menus have random numbers of their own: they change nothing else. `progress` is
    called with a step's name, the days done and the days in all.

    Memory is bounded by one day's demand and one file, whatever the number of days.

    Raises:
        SampleError: an option is out of range, or the landing zone holds anything else.
    """
    options.check()
    marker = landing / MARKER_NAME
    found = _read_marker(marker)
    wanted = {"generator_version": GENERATOR_VERSION, "options": asdict(options)}
    _refuse_to_mix(landing, found, wanted)
    if found and found.get("summary"):
        return _summary(options, found["summary"], was_there=True)

    world = make_world(options)
    landing.mkdir(parents=True, exist_ok=True)
    truth.mkdir(parents=True, exist_ok=True)
    write_json(marker, wanted)
    people = make_people(world)
    # The newest instant: closing time in the westernmost zone on the last day.
    last = options.days - 1
    midnight = (world.date_of(last) - EPOCH).days * MILLISECONDS_A_DAY
    end_ms = midnight + 22 * 3_600_000 - int(world.utc_offsets(last).min())
    with LandingFiles(landing) as files:
        write_surroundings(world, files, _moment(end_ms))
        _write_people(world, people, files, end_ms)
        _replay(world, people, files, truth, end_ms, progress)
        _write_truth(world, people, truth, wanted)
        summary = {
            "first_date": world.first_date.isoformat(),
            "last_date": world.date_of(last).isoformat(),
            "files": files.files,
            "records": files.records,
        }
    write_json(marker, wanted | {"summary": summary})
    return _summary(options, summary, was_there=False)


def is_written(landing: Path, wanted: dict[str, Any]) -> bool:
    """Tell whether the whole sample network of these options lies in the landing zone.

    Raises:
        SampleError: the landing zone holds anything else.
    """
    found = _read_marker(landing / MARKER_NAME)
    _refuse_to_mix(landing, found, wanted)
    return bool(found and found.get("summary"))


def _moment(utc_ms: int) -> datetime:
    moment: datetime = pa.scalar(utc_ms, pa.timestamp("ms")).as_py()
    return moment


def _summary(options: SampleOptions, found: dict[str, Any], *, was_there: bool) -> SampleSummary:
    return SampleSummary(
        options=options,
        first_date=date.fromisoformat(found["first_date"]),
        last_date=date.fromisoformat(found["last_date"]),
        files=found["files"],
        records=found["records"],
        stock_events=found["records"].get("fridge/stock_events", 0),
        was_there=was_there,
    )


def _read_marker(marker: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(marker.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or "options" not in found:
        raise SampleError(
            f"The sample network's marker {marker} cannot be read, so it is not known which sample "
            "lies in that landing zone. Set LARDER_HOME to an empty folder and run again."
        )
    return found


def _refuse_to_mix(landing: Path, found: dict[str, Any] | None, wanted: dict[str, Any]) -> None:
    if found is not None:
        if {key: found.get(key) for key in wanted} != wanted:
            was = " ".join(f"--{k.replace('_', '-')} {v}" for k, v in found["options"].items())
            raise SampleError(
                f"The landing zone {landing} holds a sample network made with other options ({was}"
                f", generator version {found.get('generator_version')}). Landing files never "
                "change: use the same options, or set LARDER_HOME to an empty folder."
            )
        return
    stranger = next(find_files(landing), None) if landing.is_dir() else None
    if stranger is not None:
        # Only the folders are named: a file's own name may hold a person's.
        where = "/".join(stranger.relative.split("/")[:-1][:2]) or "its top folder"
        raise SampleError(
            f"The landing zone {landing} already holds files that are not the sample network's "
            f"(for instance in {where}). The sample is never mixed in with your data: set "
            "LARDER_HOME to an empty folder for the sample, or run `larder run` for your files."
        )


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a small file, whole or not at all."""
    aside = path.with_name(f"{path.name}.tmp")
    aside.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    aside.rename(path)


def _write_people(world: World, people: People, files: LandingFiles, end_ms: int) -> None:
    """Write customers known at the start in one file, later versions by periods of four weeks."""
    versions = customer_versions(world, people, end_ms)
    updated = versions.column("updated_at").cast(pa.int64()).to_numpy()
    endings = (".ndjson.gz", ".csv.zst", ".jsonl", ".ndjson.zst")
    start = (world.first_date - EPOCH).days * MILLISECONDS_A_DAY
    before = int(np.searchsorted(updated, start))
    files.write("accounts/customers/customers.parquet", versions.slice(0, before))
    for number, day in enumerate(range(0, world.options.days + 1, 28)):
        low = int(np.searchsorted(updated, start + day * MILLISECONDS_A_DAY))
        high = int(np.searchsorted(updated, start + (day + 28) * MILLISECONDS_A_DAY))
        if high > low:
            name = f"changes-{world.date_of(day)}{endings[number % len(endings)]}"
            files.write(f"accounts/customers/{name}", versions.slice(low, high - low))
    files.write("accounts/consents/consents.csv", consent_versions(world, people, end_ms))


def _replay(
    world: World,
    people: People,
    files: LandingFiles,
    truth: Path,
    end_ms: int,
    progress: Progress | None,
) -> None:
    days = world.options.days
    simulation = Simulation(world, people)
    tables = Tables(world, people, end_ms)
    stock_events = PeriodFiles(
        files,
        "fridge/stock_events",
        days,
        weekly_endings=(".parquet", ".ndjson.zst", ".csv.gz", ".ndjson.gz", ".csv.zst"),
        daily_endings=(".ndjson", ".ndjson.gz", ".csv", ".ndjson.zst", ".jsonl", ".parquet"),
        daily_from=max(days - DAILY_FILES, 0),
    )
    order_lines = PeriodFiles(
        files,
        "orders/order_lines",
        days,
        weekly_endings=(".csv.gz", ".ndjson.zst", ".parquet", ".csv", ".jsonl.gz", ".csv.zst"),
    )
    rated: list[tuple[Any, Any, Any]] = []
    with TruthFiles(truth) as truth_files:
        planted = _PlantedDays(world, truth_files)
        trips = Trips(world, files, truth_files)
        menus = Menus(world, people, files, truth_files)
        for day in range(days):
            on = world.date_of(day).isoformat()
            result = simulation.run_day(day)
            events = tables.events_table(day, result.events)
            if day == max(days - LATE_DAY_BACK, 0):
                events = write_blemishes(world, files, on, events)
            stock_events.add(day, on, events)
            order_lines.add(day, on, tables.order_versions(day, result.lines))
            planted.add(day, result)
            if day >= days - world.options.recent_days:
                trips.add(day, result.restocked)
                menus.add(day, result.lines)
            rated.append(result.rated)
            if day % 28 == 27 or day == days - 1:
                _write_ratings(world, people, files, day, rated, end_ms)
                rated = []
            if progress:
                progress("Replaying days", day + 1, days)


def _write_ratings(
    world: World, people: People, files: LandingFiles, day: int,
    rated: list[tuple[Any, Any, Any]], end_ms: int,
) -> None:  # fmt: skip
    customer, item, bought = (np.concatenate(columns) for columns in zip(*rated, strict=True))
    rng = np.random.default_rng([world.options.seed, 9, day])
    table = ratings(world, people, world.date_of(day), customer, item, bought, rng)
    kept = table.filter(pc.less_equal(table.column("updated_at"), _moment(end_ms)))
    if kept.num_rows:
        files.write(f"feedback/ratings/{world.date_of(day)}.ndjson.gz", kept)


class _PlantedDays:
    """Plant the intensity and the orders' grounds day by day."""

    def __init__(self, world: World, truth: TruthFiles) -> None:
        self._world = world
        self._truth = truth
        count, items = len(world.locations), len(world.items)
        location, item = np.divmod(np.arange(count * items), items)
        self._location = pa.DictionaryArray.from_arrays(
            pa.array(location.astype(np.int32)),
            pa.array([one.location_id for one in world.locations]),
        )
        self._item = pa.DictionaryArray.from_arrays(
            pa.array(item.astype(np.int32)), pa.array([one.item_id for one in world.items])
        )
        self._stocked = pa.array(world.has_stock_events[location])

    def add(self, day: int, result: Day) -> None:
        on = np.full(len(self._location), (self._world.date_of(day) - EPOCH).days, dtype=np.int32)
        keys = {
            "location_id": self._location,
            "item_id": self._item,
            "date": pa.array(on).cast(pa.date32()),
        }
        intensity = pa.array(self._world.intensity(day).ravel())
        self._truth.append("intensity", pa.table(keys | {"wanted_units": intensity}))
        policy = pa.table(
            keys
            | {
                "sales_mean_28": pa.array(result.sales_mean.ravel()),
                "order_up_to": pa.array(result.order_up_to.ravel()),
                "restocked_units": pa.array(result.restocked.ravel()),
                "vanished_units": pa.array(result.vanished.ravel()),
            }
        )
        self._truth.append("policy", policy.filter(self._stocked))


def _write_truth(world: World, people: People, truth: Path, wanted: dict[str, Any]) -> None:
    personas = pa.array(list(PERSONAS))
    locations = pa.table(
        {
            "location_id": [one.location_id for one in world.locations],
            "store": [one.store for one in world.locations],
            "stocking_bias": world.stocking_bias,
        }
    )
    with TruthFiles(truth) as files:
        files.append("locations", locations)
        for start in range(0, len(people.customer_ids), 5_000):
            rows = np.arange(start, min(start + 5_000, len(people.customer_ids)))
            utility = people.utility(world, rows)
            customer = np.repeat(rows, len(world.items))
            table = pa.table(
                {
                    "customer_id": pa.array([people.customer_ids[row] for row in customer]),
                    "item_id": pa.array([one.item_id for one in world.items] * rows.size),
                    "persona": personas.take(pa.array(people.persona[customer])),
                    "home_location_id": pa.array(
                        [world.locations[people.home[row]].location_id for row in customer]
                    ),
                    "utility": pa.array(utility.ravel()),
                }
            )
            files.append("tastes", table)
    write_json(truth / "options.json", wanted)
