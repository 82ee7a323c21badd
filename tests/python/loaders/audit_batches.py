"""Batches for the audit, and the thresholds that judge them, for the tests of the audit."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from larder.settings import Settings
from loaders.audit.rules import COLUMNS
from loaders.load import load

NOW = datetime(2026, 6, 10, 12, tzinfo=UTC)
STOCK = "fridge/stock_events"
Record = dict[str, object]


def clock() -> datetime:
    """Give the time of every load and audit."""
    return NOW


def settings_for(home: Path) -> Settings:
    """Return the settings of a home whose key lies in it."""
    return Settings(home=home, landing=None, key_file=home / "key", as_of=None)


def event(number: int, **changes: object) -> Record:
    """Return a stock event that has nothing wrong with it."""
    return {
        "event_id": f"e{number}",
        "occurred_at": (NOW - timedelta(hours=1, seconds=number)).isoformat(),
        "location_id": "north",
        "item_id": "soup",
        "kind": "taken",
        "quantity": 1,
    } | changes


def item(item_id: str = "soup", **changes: object) -> Record:
    """Return a meal of the catalogue."""
    return {
        "item_id": item_id,
        "item_name": "Soup",
        "category": "soups",
        "price_usd": 6,
        "unit_cost_usd": 2,
        "shelf_life_days": 3,
        "updated_at": NOW.isoformat(),
    } | changes


LOCATION: Record = {
    "location_id": "north",
    "location_name": "North",
    "kind": "fridge",
    "latitude": 52,
    "longitude": 0,
    "region": "east",
    "time_zone": "UTC",
    "updated_at": NOW.isoformat(),
}


def write(settings: Settings, name: str, records: list[Record]) -> None:
    """Write a landing file."""
    path = settings.landing_folder / f"{name}.ndjson"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def land(settings: Settings, name: str, records: list[Record]) -> None:
    """Write a landing file and load it."""
    write(settings, name, records)
    load(settings, clock)


def land_catalogue(settings: Settings) -> None:
    """Land the one meal and the one location that events name."""
    write(settings, "catalog/items/all", [item()])
    land(settings, "catalog/locations/all", [LOCATION])


def thresholds(folder: Path, *lines: str) -> Path:
    """Write a seed of thresholds."""
    path = folder / "thresholds.csv"
    path.write_text("\n".join([",".join(COLUMNS), *lines]) + "\n", encoding="utf-8")
    return path


def good() -> list[Record]:
    """Return events that break no rule."""
    return [event(number) for number in range(10)]
