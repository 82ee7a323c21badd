"""Let guests of restaurants read menus behind QR codes; their orders are those that are there.

Each order of channel `qr_menu` is the end of a session, so that nothing is sold twice and every
`order_placed` has its order lines; other guests leave without one. Ids of guests are random.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from loaders.sample.arrays import EPOCH, MILLISECONDS_A_DAY, Flags, Integers
from loaders.sample.blemishes import LATE_DAY_BACK
from loaders.sample.catalogue import World
from loaders.sample.landing_files import LandingFiles
from loaders.sample.menu_plan import CONVERSION, make_plan, planted_table, version_name
from loaders.sample.people import People
from loaders.sample.planted import TruthFiles
from loaders.sample.records import CHANNELS, HOUR, MINUTE, Lines
from loaders.sample.tables import hex_ids
from loaders.sample.webhooks import instants

_ENTITY: Final = "menu/menu_events"
_ENDINGS: Final = (".ndjson", ".csv.gz", ".jsonl", ".parquet", ".ndjson.zst", ".csv")
_TABLES: Final = 20
_IS_CUSTOMER, _SIGNS_IN, _COMES_AGAIN = 0.3, 0.5, 0.35
_GUESTS_WHO_COME_AGAIN: Final = 300
_LEFT_IN_THE_BASKET: Final = 0.06
_BOTS_A_DAY: Final = 0.25
_BOT_STEP_MS: Final = (150, 300)
_SENT_TWICE: Final = 0.015


@dataclass
class _Guest:
    """Know one session's guest: device, customer row (-1: nobody known), basket (-1: no order)."""

    visitor: str
    customer: int
    ends_ms: int
    basket: int = -1


@dataclass
class _Clicks:
    """Collect the events of a day, a dictionary each, and what is planted about each session."""

    events: list[dict[str, Any]] = field(default_factory=list)
    sessions: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Menus:
    """Let guests read menus day by day, write their clicks, and plant what they are like."""

    world: World
    people: People
    files: LandingFiles
    truth: TruthFiles
    _number: int = 0

    def __post_init__(self) -> None:
        self._plan = make_plan(self.world)
        rng = np.random.default_rng([self.world.options.seed, 21])
        self._device = rng.integers(0, 2**63, len(self.people.customer_ids))
        self._strangers = rng.integers(
            0, 2**63, (self._plan.restaurants.size, _GUESTS_WHO_COME_AGAIN)
        )
        if self._plan.restaurants.size:
            self.truth.append("menus", planted_table(self.world, self._plan))

    def add(self, day: int, lines: Lines) -> None:
        """Write the clicks of a local day, given its order lines."""
        clicks = _Clicks()
        for restaurant in range(self._plan.restaurants.size):
            rng = np.random.default_rng([self.world.options.seed, 22, day, restaurant])
            self._read_menus(day, restaurant, lines, clicks, rng)
        if not clicks.events:
            return
        table = self._table(clicks)
        on = self.world.date_of(day).isoformat()
        if day == max(self.world.options.days - LATE_DAY_BACK, 0):
            # the first restaurant had no network; the guests' devices have sent later
            first = self.world.locations[self._plan.restaurants[0]].location_id
            is_late = pc.equal(table.column("location_id"), first)
            if pc.any(is_late).as_py():
                self.files.write(f"{_ENTITY}/{on}-offline.ndjson", table.filter(is_late))
            table = table.filter(pc.invert(is_late))
        if table.num_rows:
            self.files.write(f"{_ENTITY}/{on}{_ENDINGS[day % len(_ENDINGS)]}", table)
        self.truth.append("menu_sessions", _sessions_table(clicks))

    def _read_menus(
        self, day: int, restaurant: int, lines: Lines, clicks: _Clicks, rng: np.random.Generator
    ) -> None:
        location = int(self._plan.restaurants[restaurant])
        midnight = (self.world.date_of(day) - EPOCH).days * MILLISECONDS_A_DAY
        midnight -= int(self.world.utc_offsets(day)[location])
        rows = np.flatnonzero(
            (lines.location == location) & (lines.channel == CHANNELS.index("qr_menu"))
        )
        guests, ordered = self._guests(midnight, restaurant, rows, lines, rng)
        version = self._plan.version(day)
        wanted = self.world.intensity(day)[location]
        viewed, stopped, skipped = self._plan.draw(version, restaurant, wanted, ordered, rng)
        for row, guest in enumerate(guests):
            session = _Session(self, day, restaurant, guest)
            session.read(viewed[row], stopped[row], skipped[row], ordered[row], rng)
            session.tell(clicks, rng)
        for _ in range(int(rng.poisson(_BOTS_A_DAY))):
            at = midnight + int(rng.integers(4 * HOUR, 23 * HOUR))
            bot = _Session(self, day, restaurant, _Guest(_visitor(rng.integers(2**63)), -1, at))
            bot.crawl(rng)
            bot.tell(clicks, rng)

    def _guests(
        self, midnight: int, restaurant: int, rows: Integers, lines: Lines,
        rng: np.random.Generator,
    ) -> tuple[list[_Guest], Flags]:  # fmt: skip
        """Return those who order, and as many who only look as the conversion wants.

        `midnight` is where the local day begins, UTC milliseconds.
        """
        location = int(self._plan.restaurants[restaurant])
        baskets, first, of_basket = np.unique(
            lines.basket[rows], return_index=True, return_inverse=True
        )
        lookers = int(rng.poisson(baskets.size * (1 - CONVERSION) / CONVERSION))
        ordered = np.zeros((baskets.size + lookers, len(self.world.items)), dtype=np.bool_)
        ordered[of_basket, lines.item[rows]] = True
        guests = []
        for basket, at in zip(baskets, rows[first], strict=True):
            placed = midnight + int(lines.local_ms[at])
            customer = int(lines.customer[at])
            visitor = (
                _visitor(self._device[customer])
                if customer >= 0
                else self._stranger(restaurant, rng)
            )
            guests.append(_Guest(visitor, customer, placed, int(basket)))
        neighbours = np.flatnonzero(self.people.home == location)
        for _ in range(lookers):
            like = int(lines.local_ms[rows[int(rng.integers(rows.size))]])
            local = int(np.clip(like + rng.normal(0, 45 * MINUTE), 6.1 * HOUR, 21.5 * HOUR))
            at = midnight + local
            visitor, customer = self._stranger(restaurant, rng), -1
            if neighbours.size and rng.random() < _IS_CUSTOMER:
                who = int(rng.choice(neighbours))
                visitor = _visitor(self._device[who])
                if self.people.registered_ms[who] < at and rng.random() < _SIGNS_IN:
                    customer = who
            guests.append(_Guest(visitor, customer, at))
        return guests, ordered

    def _stranger(self, restaurant: int, rng: np.random.Generator) -> str:
        if rng.random() < _COMES_AGAIN:
            return _visitor(rng.choice(self._strangers[restaurant]))
        return _visitor(rng.integers(2**63))

    def _table(self, clicks: _Clicks) -> pa.Table:
        """Return the events in order of time, with ids; some are sent again under their own id."""
        events = sorted(clicks.events, key=lambda event: int(event["at"]))
        moments = np.array([event["at"] for event in events])
        numbers = self._number + np.arange(moments.size)
        self._number += moments.size
        ids = hex_ids(b"click-", [(moments, 12), (numbers, 8)]).to_pylist()
        for event, event_id in zip(events, ids, strict=True):
            event["event_id"] = event_id
        rng = np.random.default_rng([self.world.options.seed, 23, self._number])
        again = np.flatnonzero(rng.random(moments.size) < _SENT_TWICE / 2)
        customers = self.people.customer_ids
        rows = [*events, *(events[at] for at in again)]
        table = pa.Table.from_pylist(rows, schema=_SCHEMA)
        who = [customers[row["customer"]] if row["customer"] >= 0 else None for row in rows]
        return table.append_column("customer_id", pa.array(who, pa.string())).append_column(
            "occurred_at", pa.array([row["at"] for row in rows], pa.timestamp("ms"))
        )


_SCHEMA: Final = pa.schema(
    [
        ("event_id", pa.string()), ("location_id", pa.string()), ("visitor_id", pa.string()),
        ("kind", pa.string()), ("item_id", pa.string()), ("section", pa.string()),
        ("position", pa.int64()), ("menu_version", pa.string()), ("dwell_seconds", pa.float64()),
        ("table_id", pa.string()),
    ]
)  # fmt: skip


class _Session:
    """Tell one session event by event."""

    def __init__(self, menus: Menus, day: int, restaurant: int, guest: _Guest) -> None:
        self._menus = menus
        self._guest = guest
        self._plan = menus._plan
        self._positions = self._plan.positions[self._plan.version(day), restaurant]
        self._day = day
        self._clock = 0
        self._is_bot = False
        self._events: list[dict[str, Any]] = []
        self._always = {
            "location_id": menus.world.locations[self._plan.restaurants[restaurant]].location_id,
            "visitor_id": guest.visitor,
            "menu_version": version_name(menus.world, self._plan, self._plan.version(day)),
            "table_id": None,
        }
        self._signed_in = False

    def read(
        self, viewed: Flags, stopped: Flags, skipped: Flags, ordered: Flags,
        rng: np.random.Generator,
    ) -> None:  # fmt: skip
        """Go through the menu from top to bottom; an order is placed at its known moment."""
        self._always["table_id"] = f"table-{int(rng.integers(_TABLES)) + 1}"
        self._happens("menu_opened")
        is_looking = self._guest.basket < 0
        for section in np.flatnonzero(viewed):
            self._clock += int(rng.integers(800, 3_000))
            self._happens("section_viewed", section=self._plan.sections[section])
            within = np.flatnonzero((self._plan.section_of == section) & (stopped | skipped))
            for item in within[np.argsort(self._positions[within])]:
                self._clock += int(rng.integers(300, 1_200))
                if not stopped[item]:
                    self._happens("item_skipped", item, rng.uniform(0.3, 1.5))
                    continue
                longer = np.exp(rng.normal(1.6 + 0.8 * (self._plan.appeal[item] - 0.5), 0.5))
                self._happens("item_viewed", item, float(longer))
                self._clock += int(1000 * longer)
                if ordered[item] or (is_looking and rng.random() < _LEFT_IN_THE_BASKET):
                    self._signed_in = self._guest.customer >= 0
                    self._happens("item_added", item)
        if not is_looking:
            self._clock += int(rng.integers(2_000, 20_000))
            for item in np.flatnonzero(ordered):
                self._happens("order_placed", item)

    def crawl(self, rng: np.random.Generator) -> None:
        """Read everything faster than anybody can."""
        self._is_bot = True
        self._happens("menu_opened")
        for section, name in enumerate(self._plan.sections):
            self._happens("section_viewed", section=name)
            within = np.flatnonzero(self._plan.section_of == section)
            for item in within[np.argsort(self._positions[within])]:
                self._clock += int(rng.integers(*_BOT_STEP_MS))
                self._happens("item_viewed", item, 0.1)

    def _happens(
        self, kind: str, item: int | np.int64 = -1, dwell: float | None = None,
        section: str | None = None,
    ) -> None:  # fmt: skip
        has_item = item >= 0
        self._events.append(
            self._always
            | {
                "at": self._clock,
                "kind": kind,
                "item_id": self._menus.world.items[item].item_id if has_item else None,
                "section": self._plan.sections[self._plan.section_of[item]]
                if has_item
                else section,
                "position": int(self._positions[item]) if has_item else None,
                "dwell_seconds": None if dwell is None else round(dwell, 1),
                "customer": self._guest.customer if self._signed_in else -1,
            }
        )

    def tell(self, clicks: _Clicks, rng: np.random.Generator) -> None:
        """Give the events their moments; a few come a second time under another id."""
        start = (
            self._guest.ends_ms - self._clock if self._guest.basket >= 0 else self._guest.ends_ms
        )
        twice = 0
        for event in self._events:
            event["at"] += start
            clicks.events.append(event)
            if rng.random() < _SENT_TWICE / 2:
                twice += 1
                clicks.events.append(event | {"at": event["at"] + int(rng.integers(50, 900))})
        kinds = [event["kind"] for event in self._events]
        today = (self._menus.world.date_of(self._day) - EPOCH).days
        clicks.sessions.append(
            {
                "location_id": self._always["location_id"],
                "started_at": start,
                "ended_at": start + self._clock,
                "is_bot": self._is_bot,
                "order_id": f"order-{today:04x}{self._guest.basket:06x}"
                if self._guest.basket >= 0
                else None,
                "events": len(kinds),
                "sent_twice": twice,
                "items_viewed": kinds.count("item_viewed"),
                "items_skipped": kinds.count("item_skipped"),
                "items_added": kinds.count("item_added"),
            }
        )


def _sessions_table(clicks: _Clicks) -> pa.Table:
    table = pa.Table.from_pylist(clicks.sessions)
    for name in ("started_at", "ended_at"):
        at = table.schema.get_field_index(name)
        table = table.set_column(at, name, instants(table.column(name).to_pylist()))
    at = table.schema.get_field_index("order_id")
    return table.set_column(at, "order_id", table.column("order_id").cast(pa.string()))


def _visitor(number: int | np.int64) -> str:
    return f"visitor-{int(number):016x}"
