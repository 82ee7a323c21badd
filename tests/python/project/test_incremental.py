"""Whatever the order and the chunks in which files arrive, the tables are those of one load."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from dbt_client import Dbt

from larder.settings import Settings
from loaders.load import load

SELECTED = ["+path:models/facts", "+path:models/dimensions"]
# They say when a build ran, not what happened.
RUN_TIME_COLUMNS = {"accepted_at", "changed_at", "received_at"}
FIRST_DAY = datetime(2024, 3, 8, tzinfo=UTC)  # US clocks change on the 10th
DAYS = 7
CHUNKS = 3
ZONES = {
    "fridge-east": "America/New_York",
    "fridge-far": "Pacific/Kiritimati",
    "fridge-west": "Pacific/Pago_Pago",
    "kiosk": "Asia/Kolkata",
    "kiosk-late": "America/New_York",
}
ITEMS = ["salad", "soup", "cake", "unlisted"]

Record = dict[str, Any]
Files = dict[str, list[Record]]


def instant(moment: datetime) -> str:
    """Write an instant as the contract does."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Happenings:
    """Make up what happened, with every kind of trouble that a network makes."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def moment(self, days: float = DAYS) -> datetime:
        """Draw a moment, often one with company, so that ties are frequent."""
        minutes = self.random.randrange(int(days * 24 * 12)) * 5
        return FIRST_DAY + timedelta(minutes=minutes)

    def files(self) -> Files:
        """Return the records of every entity, duplicates and conflicts included."""
        return {
            "catalog/items": self._troubled(self._items(), "price_usd"),
            "catalog/locations": self._locations(),
            "catalog/promotions": self._troubled(self._promotions(), "discount_percent"),
            "fridge/stock_events": self._conflicting_events(self._stock_events()),
            "orders/order_lines": self._troubled(self._order_lines(), "quantity"),
        }

    def _troubled(self, records: list[Record], field: str) -> list[Record]:
        """Deliver some twice, and some with the same version but another value."""
        again = self.random.sample(records, len(records) // 6)
        other = self.random.sample(records, len(records) // 8)
        changed = [{**record, field: self.random.randrange(1, 9)} for record in other]
        return [*records, *again, *changed]

    def _conflicting_events(self, events: list[Record]) -> list[Record]:
        again = self.random.sample(events, len(events) // 8)
        changed = [
            {**event, **self.random.choice(self._changes())}
            for event in self.random.sample(events, len(events) // 8)
        ]
        return [*events, *again, *changed]

    def _changes(self) -> list[Record]:
        return [
            {"item_id": self.random.choice(ITEMS)},
            {"location_id": self.random.choice(["fridge-east", "fridge-far", "nowhere"])},
            {"occurred_at": instant(self.moment())},
            {"kind": "discarded", "basket_id": None},
            {"kind": "taken", "basket_id": "b3"},
            {"kind": "counted", "quantity": 5},
            {"quantity": 0},
        ]

    def _items(self) -> list[Record]:
        return [
            {
                "item_id": item,
                "item_name": item,
                "category": "meals",
                "price_usd": self.random.randrange(3, 9),
                "unit_cost_usd": self.random.randrange(1, 3),
                "disposal_cost_usd": self.random.choice([None, 0.25]),
                "shelf_life_days": 3,
                "updated_at": instant(self.moment()),
            }
            for item in ITEMS[:3]
            for _ in range(3)
        ]

    def _locations(self) -> list[Record]:
        records = []
        for location, zone in ZONES.items():
            # the newest version is the last one that matters, whenever it arrives
            for version, time_zone in enumerate([None, "Europe/Berlin", zone]):
                record = {
                    "location_id": location,
                    "location_name": location,
                    "kind": "kiosk" if "kiosk" in location else "fridge",
                    "latitude": 40,
                    "longitude": -70,
                    "region": "north",
                    "time_zone": time_zone,
                    "updated_at": instant(FIRST_DAY - timedelta(days=9 - version)),
                }
                records.append(record)
        return records

    def _promotions(self) -> list[Record]:
        records = []
        for number in range(3):
            for version in range(2):
                starts_at = self.moment()
                record = {
                    "promotion_id": f"promotion-{number}",
                    "kind": "discount",
                    "item_ids": self.random.sample(ITEMS, 2),
                    "location_id": self.random.choice([None, "kiosk", "fridge-east"]),
                    "discount_percent": 20,
                    "starts_at": instant(starts_at),
                    "ends_at": instant(starts_at + timedelta(days=2)),
                    "is_deleted": self.random.random() < 0.3,
                    "updated_at": instant(FIRST_DAY + timedelta(days=version)),
                }
                records.append(record)
        return records

    def _stock_events(self) -> list[Record]:
        kinds = ["restocked", "taken", "taken", "taken", "put_back", "discarded", "counted"]
        events = []
        for number in range(400):
            kind = self.random.choice(kinds)
            sells = kind in ("taken", "put_back")
            event = {
                "event_id": f"event-{number}",
                "occurred_at": instant(self.moment()),
                "location_id": self.random.choice([*list(ZONES)[:3], "nowhere"]),
                "item_id": self.random.choice(ITEMS),
                "kind": kind,
                "quantity": self.random.randrange(1, 5),
                "basket_id": f"b{self.random.randrange(40)}" if sells else None,
                "customer_id": f"c{self.random.randrange(5)}" if sells else None,
                "unit_price_usd": self.random.choice([None, 4.5]),
                "is_promoted": self.random.choice([None, False, True]),
            }
            events.append(event)
        # a place that took orders all along begins to report its stock
        events += [
            {**event, "event_id": f"late-{number}", "location_id": "kiosk-late"}
            for number, event in enumerate(self.random.sample(events, 3))
        ]
        return events

    def _order_lines(self) -> list[Record]:
        records = []
        for number in range(80):
            ordered_at = self.moment()
            line = {
                "order_id": f"order-{number // 2}",
                "line_number": number % 2 + 1,
                "ordered_at": instant(ordered_at),
                "location_id": self.random.choice(["kiosk", "kiosk-late", "nowhere", "corner"]),
                "item_id": self.random.choice(ITEMS),
                "quantity": self.random.randrange(1, 4),
                "unit_price_usd": self.random.choice([None, 5]),
                "customer_id": f"c{self.random.randrange(5)}",
                "channel": self.random.choice([None, "app", "kiosk"]),
            }
            statuses = self.random.choice(
                [
                    ["placed"],
                    ["placed", "picked_up"],
                    ["placed", "picked_up", "picked_up"],
                    ["placed", "cancelled"],
                    ["placed", "picked_up", "refunded"],
                    ["picked_up", "placed"],
                ]
            )
            for hour, status in enumerate(statuses):
                updated_at = ordered_at + timedelta(hours=7 * hour)
                is_deleted = self.random.random() < 0.05
                version = {"status": status, "updated_at": instant(updated_at)}
                records.append({**line, **version, "is_deleted": is_deleted})
        return records


def scattered(files: Files, chance: random.Random) -> Iterator[Files]:
    """Deal the records out, in any order, to as many chunks as the test has."""
    chunks: list[Files] = [{} for _ in range(CHUNKS)]
    for entity, records in files.items():
        for record in chance.sample(records, len(records)):
            chance.choice(chunks).setdefault(entity, []).append(record)
    yield from chunks


def land(settings: Settings, chunk: Files, name: str) -> None:
    """Write one file an entity and load them."""
    for entity, records in chunk.items():
        file = settings.landing_folder / entity / f"{name}.ndjson"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(json.dumps(record) + "\n" for record in records))
    load(settings, lambda: datetime.now(UTC))


def tables(settings: Settings) -> dict[str, set[str]]:
    """Read every table that was built, each row as text without its run-time columns."""
    content = {}
    with duckdb.connect(str(settings.build_database)) as connection:
        names = connection.execute(
            "select table_schema, table_name from information_schema.tables where table_type ="
            " 'BASE TABLE' and table_schema in ('anonymised', 'intermediate', 'marts')"
        ).fetchall()
        for schema, name in names:
            described = connection.execute(f"describe {schema}.{name}").fetchall()
            columns = [row[0] for row in described if row[0] not in RUN_TIME_COLUMNS]
            rows = connection.execute(f"select {', '.join(columns)} from {schema}.{name}")
            texts = [str(dict(zip(columns, row, strict=True))) for row in rows.fetchall()]
            content[f"{schema}.{name}"] = set(texts)
            assert len(texts) == len(content[f"{schema}.{name}"]), f"{name} repeats rows"
    return content


@pytest.mark.parametrize("seed", [1, 2])
def test_any_order_and_chunks_give_the_tables_of_one_load(
    dbt: Dbt, seed: int, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path / "home", key_file=tmp_path / "key")
    happenings = Happenings(seed)
    chunks = scattered(happenings.files(), happenings.random)

    def run(*arguments: str, as_of: str = "") -> None:
        result = dbt.run(settings.home, *arguments, LARDER_AS_OF=as_of)
        assert result.success, (result.message, result.problems)

    for number, chunk in enumerate(chunks):
        land(settings, chunk, f"chunk-{number}")
        if number == 0:
            run("build", "--select", *SELECTED, "--exclude-resource-type", "test", "unit_test")
        else:
            # the clock runs ahead once and is set back
            as_of = "2024-04-01T00:00:00Z" if number == 1 else ""
            run("run", "--select", *SELECTED, "--exclude", "path:models/staging", as_of=as_of)
    incremental = tables(settings)
    run("run", "--select", *SELECTED, "--exclude", "path:models/staging", "--full-refresh")

    full = tables(settings)
    assert incremental.keys() == full.keys()
    for name, rows in full.items():
        surplus, missing = sorted(incremental[name] - rows), sorted(rows - incremental[name])
        assert (surplus[:3], missing[:3]) == ([], []), name
    for name in ("fct_sales", "fct_orders", "fct_waste", "fct_stock_days"):
        assert len(full[f"marts.{name}"]) > 10, f"{name} is hardly tested"
