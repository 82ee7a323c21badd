"""Write what stands around the events: catalogue, calendar, promotions, trends, contents."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Final

import numpy as np
import pyarrow as pa

from loaders.sample.arrays import Floats
from loaders.sample.bakery import HISTORY_DAYS, PRODUCTS
from loaders.sample.catalogue import World
from loaders.sample.geofences import DEPOTS
from loaders.sample.landing_files import LandingFiles
from loaders.sample.simulation import PROMOTION_DISCOUNT_PERCENT, SALES_WINDOW

CALENDAR_AHEAD_DAYS: Final = 14
ORDER_LEAD_HOURS: Final = 7
"""From the evening's order at closing to the delivery before opening."""
_HOLIDAYS_AHEAD: Final = (date(2019, 5, 1),)
_WEEKDAYS: Final = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_INSTANT: Final = pa.timestamp("ms")
_TEXTS: Final = pa.list_(pa.string())


def instant(on: date, hour: int = 0) -> datetime:
    """Return an hour of a date in UTC, without zone as the tables hold it."""
    return datetime.combine(on, time(hour), tzinfo=UTC).replace(tzinfo=None)


def write_surroundings(world: World, files: LandingFiles, end: datetime) -> None:
    """Write all entities that do not hang on the replayed days; nothing is later than `end`."""
    _write_items(world, files)
    _write_locations(world, files)
    _write_calendar(world, files)
    _write_promotions(world, files)
    _write_trends(world, files, end)
    _write_contents(world, files)


def _write_items(world: World, files: LandingFiles) -> None:
    start = instant(world.first_date - timedelta(days=30))
    schema = pa.schema(
        [
            ("item_id", pa.string()), ("item_name", pa.string()), ("category", pa.string()),
            ("tags", _TEXTS), ("allergens", _TEXTS), ("price_usd", pa.decimal128(10, 2)),
            ("unit_cost_usd", pa.decimal128(10, 2)), ("disposal_cost_usd", pa.decimal128(10, 2)),
            ("shelf_life_days", pa.int64()), ("pack_size", pa.int64()),
            ("order_lead_hours", pa.int64()), ("kitchen_id", pa.string()), ("updated_at", _INSTANT),
        ]
    )  # fmt: skip

    def rows(
        change: int, updated_at: datetime, only: np.ndarray[tuple[int], np.dtype[np.int64]]
    ) -> pa.Table:
        picked = [(world.items[row], int(world.price_cents[change, row])) for row in only]
        return pa.table(
            [
                pa.array(values).cast(one.type)
                if one.name.endswith("_usd")
                else pa.array(values, one.type)
                for one, values in zip(
                    schema,
                    (
                        [item.item_id for item, _ in picked],
                        [item.item_name for item, _ in picked],
                        [item.category for item, _ in picked],
                        [list(item.tags) for item, _ in picked],
                        [list(item.allergens) for item, _ in picked],
                        [f"{cents / 100:.2f}" for _, cents in picked],
                        [f"{item.unit_cost_usd:.2f}" for item, _ in picked],
                        [f"{item.disposal_cost_usd:.2f}" for item, _ in picked],
                        [item.shelf_life_days for item, _ in picked],
                        [1 for _ in picked],
                        [ORDER_LEAD_HOURS for _ in picked],
                        [f"kitchen-{PRODUCTS.index(item.product) % 2 + 1}" for item, _ in picked],
                        [updated_at for _ in picked],
                    ),
                    strict=True,
                )
            ],
            schema=schema,
        )

    files.write("catalog/items/items.json", rows(0, start, np.arange(len(world.items))))
    changed = np.flatnonzero(world.price_cents[0] != world.price_cents[1])
    if changed.size:
        on = world.date_of(world.price_change_day)
        # 08:00 UTC lies between one day's closing and the next day's opening in every zone.
        files.write(f"catalog/items/prices-{on}.ndjson", rows(1, instant(on, 8), changed))


def _write_locations(world: World, files: LandingFiles) -> None:
    need = _busiest_level(world)
    rows = [
        {
            "location_id": one.location_id,
            "location_name": one.location_name,
            "kind": one.kind,
            "status": "online",
            "latitude": one.latitude,
            "longitude": one.longitude,
            "region": world.regions[one.region].region,
            "time_zone": world.regions[one.region].time_zone,
            "population": one.population,
            "route_id": one.route_id,
            "capacity_units": int(-(-need[row] // 10) * 10) if one.kind == "fridge" else None,
            "restock_weekdays": _WEEKDAYS,
            "opened_on": one.opened_on,
            "updated_at": instant(world.first_date - timedelta(days=29)),
        }
        for row, one in enumerate(world.locations)
    ]
    for number, region in enumerate(world.regions[:DEPOTS]):
        rows.append(
            {
                "location_id": f"depot-{number + 1}",
                "location_name": f"{region.region} Depot",
                "kind": "depot",
                "status": "online",
                "latitude": region.latitude - 0.1,
                "longitude": region.longitude - 0.1,
                "region": region.region,
                "time_zone": region.time_zone,
                "restock_weekdays": [],
                "opened_on": world.first_date - timedelta(days=1000),
                "updated_at": instant(world.first_date - timedelta(days=29)),
            }
        )
    schema = pa.schema(
        [
            ("location_id", pa.string()), ("location_name", pa.string()), ("kind", pa.string()),
            ("status", pa.string()), ("latitude", pa.float64()), ("longitude", pa.float64()),
            ("region", pa.string()), ("time_zone", pa.string()), ("population", pa.int64()),
            ("route_id", pa.string()), ("capacity_units", pa.int64()),
            ("restock_weekdays", _TEXTS), ("opened_on", pa.date32()), ("updated_at", _INSTANT),
        ]
    )  # fmt: skip
    files.write("catalog/locations/locations.csv", pa.Table.from_pylist(rows, schema=schema))


def _busiest_level(world: World) -> Floats:
    """Return about the most units [L] that the stocking policy ever asks for, with some room."""
    cover = np.minimum(world.shelf_lives, 2)
    back = min(SALES_WINDOW, HISTORY_DAYS - world.options.days)
    wanted = np.stack([world.intensity(day) @ cover for day in range(-back, world.options.days)])
    running = np.concatenate([np.zeros((1, len(world.locations))), np.cumsum(wanted, axis=0)])
    most: Floats = (running[SALES_WINDOW:] - running[:-SALES_WINDOW]).max(axis=0) / SALES_WINDOW
    return most * 1.1 + len(world.items) * 4


def _write_calendar(world: World, files: LandingFiles) -> None:
    rows: list[dict[str, object]] = []
    for region in world.regions:
        store = world.demand.stores.index(region.stores[0])
        # Promotion windows and lags look a few weeks back, so the calendar does too.
        back = min(28, HISTORY_DAYS - world.options.days)
        for day in range(-back, world.options.days + CALENDAR_AHEAD_DAYS):
            on = world.date_of(day)
            column = HISTORY_DAYS - world.options.days + day
            row: dict[str, object] = {"region": region.region, "date": on}
            if column < HISTORY_DAYS:
                row |= {
                    "is_holiday": bool(world.demand.is_holiday[store, column]),
                    "is_school_holiday": bool(world.demand.is_school_holiday[store, column]),
                    "rain_millimetres": round(float(world.demand.rain[store, column]), 1),
                    "temperature_celsius": round(float(world.demand.temperature[store, column]), 1),
                    "updated_at": instant(on, 23),
                }
            else:
                # The holidays ahead are known; their weather is not.
                row |= {
                    "is_holiday": on in _HOLIDAYS_AHEAD,
                    "is_school_holiday": False,
                    "updated_at": instant(world.first_date - timedelta(days=28)),
                }
            rows.append(row)
    schema = pa.schema(
        [
            ("region", pa.string()), ("date", pa.date32()), ("is_holiday", pa.bool_()),
            ("is_school_holiday", pa.bool_()), ("rain_millimetres", pa.float64()),
            ("temperature_celsius", pa.float64()), ("updated_at", _INSTANT),
        ]
    )  # fmt: skip
    files.write("catalog/calendar/calendar.csv.gz", pa.Table.from_pylist(rows, schema=schema))


def _write_promotions(world: World, files: LandingFiles) -> None:
    rows: list[dict[str, object]] = []
    first_column = HISTORY_DAYS - world.options.days
    for product, number in enumerate(PRODUCTS):
        flags = world.demand.is_promoted[product, first_column:].astype(np.int8)
        edges = np.diff(np.concatenate([[0], flags, [0]]))
        for start, stop in zip(np.flatnonzero(edges > 0), np.flatnonzero(edges < 0), strict=True):
            begins, ends = world.date_of(int(start)), world.date_of(int(stop))
            rows.append(
                {
                    "promotion_id": f"promotion-{number}-{begins}",
                    "kind": "discount",
                    "item_ids": [one.item_id for one in world.items if one.product == number],
                    "discount_percent": float(PROMOTION_DISCOUNT_PERCENT),
                    # 08:00 UTC: after closing in the west, before opening in the east.
                    "starts_at": instant(begins, 8),
                    "ends_at": instant(ends, 8),
                    "updated_at": instant(begins - timedelta(days=7)),
                }
            )
    schema = pa.schema(
        [
            ("promotion_id", pa.string()), ("kind", pa.string()), ("item_ids", _TEXTS),
            ("location_id", pa.string()), ("discount_percent", pa.float64()),
            ("starts_at", _INSTANT), ("ends_at", _INSTANT), ("updated_at", _INSTANT),
        ]
    )  # fmt: skip
    if rows:
        rows.sort(key=lambda row: str(row["promotion_id"]))
        table = pa.Table.from_pylist(rows, schema=schema)
        files.write("catalog/promotions/promotions.ndjson", table)


def _write_trends(world: World, files: LandingFiles, end: datetime) -> None:
    """Write a weekly index per region and tag: 50 is usual demand for the tag, with noise."""
    rng = np.random.default_rng([world.options.seed, 8])
    weeks = world.options.days // 7
    if weeks == 0:
        return
    count, tags = len(world.regions), len(world.tags)
    units = np.zeros((weeks, count, tags))
    for week in range(weeks):
        for day in range(week * 7, week * 7 + 7):
            of_tags = world.intensity(day) @ world.item_tags
            np.add.at(units[week], world.region_rows, of_tags)
    usual = np.maximum(units.mean(axis=0), 1e-9)
    index = np.clip(50 * units / usual + rng.normal(0.0, 4.0, units.shape), 0, 100).round(1)
    schema = pa.schema(
        [
            ("region", pa.string()), ("topic", pa.string()), ("item_tag", pa.string()),
            ("week_start", pa.date32()), ("trend_index", pa.float64()), ("updated_at", _INSTANT),
        ]
    )  # fmt: skip
    rows = [
        {
            "region": world.regions[region].region,
            "topic": f"{world.tags[tag].replace('_', ' ')} food",
            "item_tag": world.tags[tag],
            "week_start": world.date_of(week * 7),
            "trend_index": float(index[week, region, tag]),
            "updated_at": instant(world.date_of(week * 7 + 6), 23),
        }
        for week in range(weeks)
        for region in range(count)
        for tag in range(tags)
        if instant(world.date_of(week * 7 + 6), 23) <= end
    ]
    table = pa.Table.from_pylist(rows, schema=schema)
    files.write("trends/food_trends/food_trends.csv.zst", table)


def _write_contents(world: World, files: LandingFiles) -> None:
    titles = {
        "article": "What makes {} food good for you",
        "service": "A weekly plan of {} meals",
        "event": "Tasting evening: {} food",
        "invitation": "Join the family programme: {} table",
    }
    rows: list[dict[str, object]] = []
    for number, (kind, tag) in enumerate((kind, tag) for tag in world.tags for kind in titles):
        published = world.date_of(number * world.options.days // (len(world.tags) * len(titles)))
        is_local = kind in ("event", "invitation")
        rows.append(
            {
                "content_id": f"content-{number + 1:03d}",
                "kind": kind,
                "title": titles[kind].format(tag.replace("_", " ")),
                "tags": [tag],
                "region": world.regions[number % len(world.regions)].region if is_local else None,
                "valid_until": instant(published + timedelta(days=60)) if is_local else None,
                "updated_at": instant(published),
            }
        )
    schema = pa.schema(
        [
            ("content_id", pa.string()), ("kind", pa.string()), ("title", pa.string()),
            ("tags", _TEXTS), ("region", pa.string()), ("valid_until", _INSTANT),
            ("updated_at", _INSTANT),
        ]
    )  # fmt: skip
    files.write("content/contents/contents.json.gz", pa.Table.from_pylist(rows, schema=schema))
