"""What guests clicked on menus in the network of happenings.py, with every kind of trouble."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

FIRST_DAY = datetime(2024, 3, 8, tzinfo=UTC)
DISHES = ["salad", "soup", "cake", "unlisted"]
# Just under, at and just over the gap and the time of a double send, and ties.
GAPS = [0, 0.5, 2, 2.001, 20, 600, 1799.999, 1800, 1800.001, 2400]
KINDS = [
    *("section_viewed", "item_viewed", "item_viewed", "item_skipped", "item_added"),
    *("order_placed", None),
]

Record = dict[str, Any]


def instant(moment: datetime) -> str:
    """Write an instant as the contract does."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def menu_events(chance: random.Random) -> list[Record]:
    """Return the records, duplicates and conflicts included.

    They end before the order lines do, which so say what is now.
    """
    clicks = [*_visits(chance), *_crowd(), *_robot(), *_older_clicks()]
    named = [click for click in clicks if "event_id" in click]
    again = chance.sample(clicks, len(clicks) // 8)
    changed = [
        {**click, **chance.choice(_changes(chance))}
        for click in chance.sample(named, len(named) // 8)
    ]
    return [*clicks, *again, *changed]


def _moment(chance: random.Random) -> datetime:
    return FIRST_DAY + timedelta(minutes=5 * chance.randrange(6 * 24 * 12))


def _changes(chance: random.Random) -> list[Record]:
    return [
        {"visitor_id": f"v{chance.randrange(25)}"},
        {"visitor_id": None},
        {"location_id": chance.choice(["kiosk", "nowhere"])},
        {"occurred_at": instant(_moment(chance))},
        {"customer_id": f"c{chance.randrange(20)}"},
        {"kind": "item_skipped"},
    ]


def _visits(chance: random.Random) -> list[Record]:
    clicks: list[Record] = []
    for _ in range(160):
        visitor = f"v{chance.randrange(25)}"
        customer = chance.choice([None, f"c{chance.randrange(20)}"])
        location = chance.choice(["kiosk", "kiosk", "kiosk-west", "nowhere"])
        occurred_at = _moment(chance)
        for number in range(chance.randrange(1, 7)):
            dish = chance.randrange(4)
            click = {
                "occurred_at": instant(occurred_at),
                "location_id": location,
                "visitor_id": visitor,
                "kind": chance.choice(KINDS) if number else "menu_opened",
                "item_id": DISHES[dish],
                "section": "mains",
                "position": chance.choice([dish, dish, None]),
                "dwell_seconds": chance.choice([None, 4.5]),
                # signed in half-way
                "customer_id": customer if number > 1 else None,
            }
            if chance.random() < 0.95:
                click["event_id"] = f"click-{len(clicks)}"
            clicks.append(click)
            occurred_at += timedelta(seconds=chance.choice(GAPS))
    return clicks


def _crowd() -> list[Record]:
    """Let enough people do the same on one day for the reports to tell; every other one orders."""
    return [
        {
            "event_id": f"crowd-{number}-{step}",
            "occurred_at": instant(FIRST_DAY + timedelta(hours=40, seconds=9 * step)),
            "location_id": "kiosk",
            "visitor_id": f"crowd-{number}",
            "kind": kind,
            "item_id": "cake",
            "section": "desserts",
            "dwell_seconds": 2,
        }
        for number in range(40)
        for step, kind in enumerate(["item_viewed", "item_added", "order_placed"][: 3 - number % 2])
    ]


def _robot() -> list[Record]:
    return [
        {
            "event_id": f"robot-{number}",
            "occurred_at": instant(FIRST_DAY + timedelta(hours=30, seconds=9 * number)),
            "location_id": "kiosk",
            "visitor_id": "robot",
            "kind": "item_viewed",
            "item_id": f"dish-{number}",
        }
        for number in range(16)
    ]


def _older_clicks() -> list[Record]:
    clicked_at = "2024–03–09 10:00:00"  # noqa: RUF001 - en dashes
    return [
        {"element_clicked": "soup", "time_spent": number, "source_menu": "kiosk"}
        | {"createdAt" if number % 2 else "created_at": clicked_at}
        for number in range(5)
    ]
