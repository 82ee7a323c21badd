"""Put a few honest blemishes into the landing zone: late, delivered twice, and broken lines.

They are few and always the same, so that a summary has something to say about rejected records
and a reader sees that nothing else suffered.
"""

from __future__ import annotations

import json
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from loaders.sample.catalogue import World
from loaders.sample.landing_files import LandingFiles

LATE_DAY_BACK: Final = 4
"""The day, counted from the end, on which the first fridge had no connection."""
_DELIVERED_TWICE: Final = 40


def write_blemishes(world: World, files: LandingFiles, on: str, events: pa.Table) -> pa.Table:
    """Write the late and broken lines of a day and return the events that came in time."""
    is_late = pc.equal(events.column("location_id"), world.locations[0].location_id)
    late = files.lines(events.filter(is_late))
    broken = _broken_events(world, on)
    # Broken lines lie between good ones, as they do in the field.
    lines = [*late[:5], *broken[:4], *late[5:], *broken[4:]]
    files.write_text(f"fridge/stock_events/{on}-late.ndjson", lines)
    files.write_text(f"fridge/stock_events/{on}-late-again.ndjson", late[:_DELIVERED_TWICE])
    files.write_text(f"orders/order_lines/{on}-faulty-till.ndjson", _broken_orders(world, on))
    return events.filter(pc.invert(is_late))


def _broken_events(world: World, on: str) -> list[str]:
    good: dict[str, object] = {
        "event_id": "",
        "occurred_at": f"{on}T17:00:00.000Z",
        "location_id": world.locations[0].location_id,
        "item_id": world.items[0].item_id,
        "kind": "taken",
        "quantity": 1,
    }
    changes: list[dict[str, object]] = [
        {"quantity": -3},
        {"quantity": "two"},
        {"kind": "eaten"},
        {"kind": "borrowed"},
        {"event_id": None},
        {"occurred_at": f"{on[:4]}-02-30T17:00:00.000Z"},
    ]
    records = [
        json.dumps(good | {"event_id": f"broken-{number}"} | change, separators=(",", ":"))
        for number, change in enumerate(changes)
    ]
    return [*records, records[0][: len(records[0]) // 2], "sensor 12: timeout after 30 s"]


def _broken_orders(world: World, on: str) -> list[str]:
    good: dict[str, object] = {
        "order_id": "",
        "line_number": 1,
        "ordered_at": f"{on}T17:00:00.000Z",
        "location_id": world.locations[-1].location_id,
        "item_id": world.items[0].item_id,
        "quantity": 1,
        "unit_price_usd": 8.9,
        "status": "placed",
        "updated_at": f"{on}T17:00:00.000Z",
    }
    changes: list[dict[str, object]] = [{"quantity": -1}, {"status": "lost"}]
    return [
        json.dumps(good | {"order_id": f"broken-{number}"} | change, separators=(",", ":"))
        for number, change in enumerate(changes)
    ]
