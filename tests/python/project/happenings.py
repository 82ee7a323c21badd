"""What happened in a small network of a test, with every kind of trouble that networks make."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from delivery_happenings import geofences, trip_events
from menu_clicks import menu_events

FIRST_DAY = datetime(2024, 3, 8, tzinfo=UTC)  # US clocks change on the 10th
DAYS = 7
ZONES = {
    "fridge-east": "America/New_York",
    "fridge-far": "Pacific/Kiritimati",
    "fridge-west": "Pacific/Pago_Pago",
    "kiosk": "Asia/Kolkata",
    "kiosk-late": "America/New_York",
    "kiosk-west": "Pacific/Pago_Pago",
}
ITEMS = ["salad", "soup", "cake", "unlisted"]
REGIONS = ["north", "south"]

Record = dict[str, Any]
Files = dict[str, list[Record]]


def instant(moment: datetime) -> str:
    """Write an instant as the contract does."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Happenings:
    """Make up what happened, with every kind of trouble that a network makes."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.of_vans = random.Random(seed)

    def moment(self, days: float = DAYS) -> datetime:
        """Draw a moment, often one with company, so that ties are frequent."""
        minutes = self.random.randrange(int(days * 24 * 12)) * 5
        return FIRST_DAY + timedelta(minutes=minutes)

    def files(self) -> Files:
        """Return the records of every entity, duplicates and conflicts included."""
        return {
            "catalog/items": self._troubled(self._items(), "price_usd"),
            "catalog/locations": self._troubled(self._locations(), "population"),
            "catalog/calendar": self._troubled(self._calendar(), "rain_millimetres"),
            "catalog/promotions": self._troubled(self._promotions(), "discount_percent"),
            "fridge/stock_events": self._conflicting_events(self._stock_events()),
            "orders/order_lines": self._troubled(self._order_lines(), "quantity"),
            "accounts/customers": self._troubled(self._customers(), "community_id"),
            "accounts/consents": self._troubled(self._consents(), "is_granted"),
            "feedback/ratings": self._troubled(self._ratings(), "rating"),
            "trends/food_trends": self._troubled(self._food_trends(), "trend_index"),
            "content/contents": self._troubled(self._contents(), "title"),
            # of its own chance, and last: what else happens is as it was before there were menus
            "menu/menu_events": menu_events(random.Random(f"menus {self.seed}")),
            "trips/trip_events": trip_events(self.of_vans, FIRST_DAY),
            "trips/geofences": geofences(self.of_vans, FIRST_DAY),
        }

    def _troubled(self, records: list[Record], field: str) -> list[Record]:
        """Deliver some twice, and some with the same version but another value."""
        again = self.random.sample(records, len(records) // 6)
        other = self.random.sample(records, max(len(records) // 8, 1))
        changed = [{**record, field: self._other_value(record[field])} for record in other]
        return [*records, *again, *changed]

    def _other_value(self, value: Any) -> Any:
        if isinstance(value, bool):
            return not value
        if isinstance(value, str):
            return f"{value} or not"
        return self.random.choice([number for number in range(1, 6) if number != value])

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
                "tags": self.random.choice([["warm"], [], "warm", None]),
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
                    "region": "south" if "kiosk" in location else "north",
                    "route_id": None if version else "route-1",
                    "population": self.random.randrange(10, 90),
                    "restock_weekdays": self.random.choice([["mon", "thu"], "mon,thu", None]),
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
                "expires_on": self.random.choice([None, "2024-03-20", "9999-12-31"]),
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
                "location_id": self.random.choice(
                    ["kiosk", "kiosk-late", "kiosk-west", "nowhere", "corner"]
                ),
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

    def _calendar(self) -> list[Record]:
        return [
            {
                "region": region,
                "date": (FIRST_DAY + timedelta(days=day)).date().isoformat(),
                "is_holiday": self.random.random() < 0.4,
                "is_school_holiday": self.random.random() < 0.7,
                "rain_millimetres": self.random.randrange(9),
                "is_deleted": self.random.random() < 0.1,
                "updated_at": instant(FIRST_DAY + timedelta(hours=version)),
            }
            for region in REGIONS
            for day in range(DAYS)
            for version in range(2)
        ]

    def _customers(self) -> list[Record]:
        records = []
        for number in range(60):
            joined_at = datetime(2023, 1 + self.random.randrange(6), 5, tzinfo=UTC)
            left_at = joined_at + timedelta(days=200) if number % 5 == 0 else None
            for version in range(self.random.choice([1, 1, 2])):
                record = {
                    "customer_id": f"c{number}",
                    "full_name": f"Person {number}",
                    "birth_date": f"{1960 + number % 3 * 20}-01-0{1 + number % 2}",
                    "sex": self.random.choice(["female", "male"]),
                    "postcode": self.random.choice(["10001", "606 00", "abc"]),
                    "region": self.random.choice([None, "north"]),
                    "community_id": self.random.choice(["community-1", "community-2"]),
                    "registered_at": instant(joined_at),
                    "family_joined_at": instant(joined_at),
                    "family_left_at": instant(left_at) if left_at and version else None,
                    "is_deleted": self.random.random() < 0.03,
                    "updated_at": instant(joined_at + timedelta(days=201 * version)),
                }
                records.append(record)
        return records

    def _consents(self) -> list[Record]:
        return [
            {
                "customer_id": f"c{number % 60}",
                "purpose": "health_research" if number % 3 else "targeting",
                "is_granted": self.random.random() < 0.7,
                "updated_at": instant(self.moment()),
            }
            for number in range(90)
        ]

    def _ratings(self) -> list[Record]:
        return [
            {
                "rating_id": f"rating-{number % 20}",
                "customer_id": f"c{number % 20}",
                "item_id": self.random.choice(ITEMS),
                "rating": self.random.randrange(1, 6),
                "rated_at": instant(FIRST_DAY),
                "updated_at": instant(self.moment()),
            }
            for number in range(30)
        ]

    def _food_trends(self) -> list[Record]:
        return [
            {
                "region": region,
                "topic": topic,
                "item_tag": "warm",
                "week_start": week_start,
                "trend_index": self.random.randrange(60, 160),
                "updated_at": instant(self.moment()),
            }
            for region in REGIONS
            for topic in ("soup", "stew")
            for week_start in ("2024-02-26", "2024-03-04")
        ]

    def _contents(self) -> list[Record]:
        return [
            {
                "content_id": f"content-{number}",
                "kind": "article",
                "title": f"Title {number}",
                "tags": ["warm"],
                "updated_at": instant(self.moment()),
            }
            for number in range(8)
        ]
