"""Replay demand day by day: deliveries, baskets, put-backs, waste, counts, orders.

All arrays run over locations (L) and items (I); a "pair" is location row x I + item row. Units
are taken first in, first out; what is wanted beyond the stock is lost. Times are local
milliseconds of the day until `events_table` and `order_tables` turn them into UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from loaders.sample.arrays import EPOCH, MILLISECONDS_A_DAY, Flags, Floats, Integers
from loaders.sample.catalogue import MAXIMUM_SHELF_LIFE, World
from loaders.sample.people import People
from loaders.sample.records import (
    COUNTED,
    DAMAGED,
    DISCARDED,
    EXPIRED,
    HOUR,
    MINUTE,
    MISSING,
    PUT_BACK,
    RECALLED,
    RESTOCKED,
    TAKEN,
    TEMPERATURE,
    Day,
    Events,
    Lines,
    make_events,
)

OPENING, CLOSING = 6 * HOUR, 22 * HOUR
PROMOTION_DISCOUNT_PERCENT: Final = 20
SALES_WINDOW: Final = 28

_BASKET_SIZES: Final = np.cumsum([0.5, 0.3, 0.14, 0.06])
# Shares of breakfast, lunch, dinner and any other time; mean and spread in hours.
_MEALS: Final = np.cumsum([0.2, 0.42, 0.25, 0.13])
_MEAL_HOURS: Final = np.array([8.0, 12.4, 18.3, 14.0])
_MEAL_SPREAD: Final = np.array([0.8, 0.9, 1.3, 4.0])

_KNOWN_CUSTOMER: Final = 0.55
_BROWSED: Final = 0.012
_VANISHED: Final = 0.004
_DAMAGED: Final = 0.0025
_FAILED_COOLING: Final = 0.0008
_RATED: Final = 0.02


@dataclass
class Simulation:
    """Carry the state of the network from day to day."""

    world: World
    people: People
    lots: Integers = field(init=False)  # [L, I, A] units that expire in a days
    believed: Integers = field(init=False)  # [L, I] stock as the events tell it
    sales: Floats = field(init=False)  # [28, L, I] sales of the last 28 days

    def __post_init__(self) -> None:
        pairs = (len(self.world.locations), len(self.world.items))
        self.lots = np.zeros((*pairs, MAXIMUM_SHELF_LIFE), dtype=np.int64)
        self.believed = np.zeros(pairs, dtype=np.int64)
        # Before the first day there are no sales to look back on: the demand of the 28 days
        # before stands in (of the first 28, where the history has none before).
        back = SALES_WINDOW
        if self.world.options.days + SALES_WINDOW > self.world.demand.units.shape[2]:
            back = 0
        self.sales = np.stack([self.world.intensity(day - back) for day in range(SALES_WINDOW)])

    def run_day(self, day: int) -> Day:
        """Simulate one local day at every location and return what happened."""
        rng = np.random.default_rng([self.world.options.seed, 6, day])
        events: list[Events] = []
        sales_mean, order_up_to, restocked = self._order()
        events += self._before_opening(day, restocked, rng)
        opening = self.lots.sum(axis=2)
        units = self._wanted_units(day, rng)
        sold_events, lines, rated, sold = self._sell(day, units, opening, rng)
        events += sold_events
        vanished = self._vanish(sold, rng)
        events += self._close(day)
        self.sales[day % SALES_WINDOW] = sold
        return Day(
            events=Events(
                *(
                    np.concatenate([getattr(block, name) for block in events])
                    for name in Events.__dataclass_fields__
                )
            ),
            lines=lines,
            sales_mean=sales_mean,
            order_up_to=order_up_to,
            restocked=restocked,
            wanted=np.bincount(units["pair"], minlength=opening.size).reshape(opening.shape),
            vanished=vanished,
            rated=rated,
        )

    def _order(self) -> tuple[Floats, Integers, Integers]:
        """Return mean sales, level and order of each evening's policy (design decision 13)."""
        world = self.world
        mean = self.sales.sum(axis=0) / SALES_WINDOW
        cover = np.minimum(world.shelf_lives, 2)
        level = np.ceil(mean * cover + world.stocking_bias[:, None]).astype(np.int64)
        level *= world.has_stock_events[:, None]
        return mean, level, np.maximum(level - self.believed, 0)

    def _before_opening(
        self, day: int, restocked: Integers, rng: np.random.Generator
    ) -> list[Events]:
        world = self.world
        fridges = world.has_stock_events
        blocks: list[Events] = []
        # A cooling that failed in the night spoils all that is left from yesterday.
        failed = fridges & (rng.random(fridges.size) < _FAILED_COOLING)
        if failed.any():
            blocks.append(self._discard(self.lots * failed[:, None, None], 4 * HOUR, TEMPERATURE))
        # The van comes between 05:00 and 05:40.
        location, item = np.nonzero(restocked)
        quantity = restocked[location, item]
        lot = world.shelf_lives[item] - 1
        arrival = 5 * HOUR + location % 9 * 5 * MINUTE + item * 1_500
        blocks.append(make_events(arrival, location, item, RESTOCKED, quantity, lot=lot))
        self.lots[location, item, lot] += quantity
        self.believed += restocked
        damaged = np.zeros_like(self.lots)
        damaged[location, item, lot] = rng.binomial(quantity, _DAMAGED)
        blocks.append(self._discard(damaged, 5 * HOUR + 44 * MINUTE, DAMAGED))
        if world.options.days >= 60 and day == world.options.days * 11 // 20:
            recalled = np.zeros_like(self.lots)
            recalled[:, -1] = self.lots[:, -1]
            blocks.append(self._discard(recalled, 5 * HOUR + 46 * MINUTE, RECALLED))
        # Every fridge counts one category a week.
        categories = int(world.item_category.max()) + 1
        counting = fridges & (np.arange(fridges.size) % 7 == day % 7)
        location, item = np.nonzero(
            counting[:, None] & (world.item_category == day // 7 % categories)
        )
        blocks.append(self._count(location, item, 5 * HOUR + 50 * MINUTE))
        return blocks

    def _discard(self, lots: Integers, local_ms: int, reason: int) -> Events:
        location, item, lot = np.nonzero(lots)
        quantity = lots[location, item, lot]
        self.lots[location, item, lot] -= quantity
        np.subtract.at(self.believed, (location, item), quantity)
        moment = np.full(location.size, local_ms, dtype=np.int64)
        return make_events(moment, location, item, DISCARDED, quantity, lot=lot, reason=reason)

    def _count(self, location: Integers, item: Integers, local_ms: int) -> Events:
        there = self.lots[location, item].sum(axis=1)
        missing = there < self.believed[location, item]
        self.believed[location, item] = there
        moment = local_ms + (item * 2_000 if local_ms < OPENING else np.zeros_like(item))
        reason = np.where(missing, MISSING, -1)
        return make_events(moment, location, item, COUNTED, there, reason=reason)

    def _wanted_units(self, day: int, rng: np.random.Generator) -> dict[str, Integers]:
        """Return one row per wanted unit: pair, basket, time, customer (-1: not known)."""
        world = self.world
        wanted = rng.poisson(world.intensity(day))
        pair = np.repeat(np.arange(wanted.size), wanted.ravel())
        location, item = np.divmod(pair, len(world.items))
        # Who comes is drawn first (what kind of person wants this item), then units of one
        # location and persona fall into baskets: so what is bought together follows taste.
        draws = rng.random(pair.size)
        persona = (draws[:, None] > world.persona_of_item[item][:, :-1]).sum(axis=1)
        group = location * world.persona_of_item.shape[1] + persona
        order = np.argsort(group + rng.random(pair.size), kind="stable")
        pair, location, item, persona = pair[order], location[order], item[order], persona[order]
        group = group[order]
        sizes = 1 + np.searchsorted(_BASKET_SIZES[:-1], rng.random(pair.size), side="right")
        starts = np.zeros(pair.size, dtype=np.bool_)
        ends = np.cumsum(sizes)
        starts[ends[ends < pair.size]] = True
        if pair.size:
            starts[0] = True
        starts[1:] |= group[1:] != group[:-1]
        basket = np.cumsum(starts) - 1
        first = np.flatnonzero(starts)
        meal = np.searchsorted(_MEALS[:-1], rng.random(first.size), side="right")
        hours = rng.normal(_MEAL_HOURS[meal], _MEAL_SPREAD[meal])
        # Reflected into opening hours; half an hour to closing is left for put-backs.
        hours = np.where((hours < 6.05) | (hours > 21.5), rng.uniform(7.0, 21.0, hours.size), hours)
        moment = (hours * HOUR).astype(np.int64)
        customer = self.people.choose(
            location[first], persona[first], item[first], rng.random(first.size)
        )
        start_of_day = (world.date_of(day) - EPOCH).days * MILLISECONDS_A_DAY
        utc = start_of_day + moment - world.utc_offsets(day)[location[first]]
        known = (
            (customer >= 0)
            & (self.people.registered_ms[customer] < utc)
            & (rng.random(first.size) < _KNOWN_CUSTOMER)
        )
        customer = np.where(known, customer, -1)
        within = np.arange(pair.size) - first[basket] if pair.size else pair
        return {
            "pair": pair,
            "basket": basket,
            "local_ms": moment[basket] + within * 3_700,
            "customer": customer[basket],
            "utc": utc[basket],
        }

    def _sell(
        self, day: int, units: dict[str, Integers], opening: Integers, rng: np.random.Generator
    ) -> tuple[list[Events], Lines, tuple[Integers, Integers, Integers], Integers]:
        world = self.world
        items = len(world.items)
        promoted = world.promoted(day)
        price = world.prices(day)
        price = np.where(promoted, price * (100 - PROMOTION_DISCOUNT_PERCENT) // 100, price)

        # First come, first served: the n-th wanted unit of a pair is sold if n < stock.
        order = np.lexsort((units["basket"], units["local_ms"], units["pair"]))
        unit = {name: values[order] for name, values in units.items()}
        pair = unit["pair"]
        rank = np.arange(pair.size) - np.searchsorted(pair, pair, side="left")
        stocked = world.has_stock_events[pair // items]
        got = ~stocked | (rank < opening.ravel()[pair])
        unit = {name: values[got] for name, values in unit.items()}
        pair, rank, stocked = unit["pair"], rank[got], stocked[got]
        sold = np.bincount(pair, minlength=opening.size).reshape(opening.shape)
        reach = np.cumsum(self.lots, axis=2).reshape(-1, MAXIMUM_SHELF_LIFE)
        lot = np.where(stocked, (rank[:, None] >= reach[pair]).sum(axis=1), -1)

        # Units of one item, lot and basket make one event.
        order = np.lexsort((unit["local_ms"], lot, pair, unit["basket"]))
        unit = {name: values[order] for name, values in unit.items()}
        lot = lot[order]
        keys = (unit["basket"], unit["pair"], lot)
        starts = np.ones(lot.size, dtype=np.bool_)
        starts[1:] = np.any([key[1:] != key[:-1] for key in keys], axis=0)
        first = np.flatnonzero(starts)
        quantity = np.diff(np.append(first, lot.size))
        taken = {name: values[first] for name, values in unit.items()}
        lot = lot[first]
        location, item = np.divmod(taken["pair"], items)
        at_fridge = world.has_stock_events[location]

        def events_of(rows: Integers) -> Events:
            return make_events(
                taken["local_ms"][rows], location[rows], item[rows], TAKEN, quantity[rows],
                lot=lot[rows], basket=taken["basket"][rows], customer=taken["customer"][rows],
                price_cents=price[item[rows]], is_promoted=promoted[item[rows]].astype(np.int64),
            )  # fmt: skip

        rows = np.flatnonzero(at_fridge)
        blocks = [events_of(rows)]
        blocks += self._browse(taken, sold, opening, reach, unit, price, promoted, rng)
        lines = self._order_lines(taken, quantity, price, rng)
        rated = np.flatnonzero((taken["customer"] >= 0) & (rng.random(lot.size) < _RATED))
        ratings = (taken["customer"][rated], item[rated], taken["utc"][rated])

        fridge_sold = sold * world.has_stock_events[:, None]
        left = np.maximum(np.cumsum(self.lots, axis=2) - fridge_sold[:, :, None], 0)
        self.lots = np.diff(left, axis=2, prepend=0)
        self.believed -= fridge_sold
        return blocks, lines, ratings, sold

    def _browse(
        self, taken: dict[str, Integers], sold: Integers, opening: Integers, reach: Integers,
        unit: dict[str, Integers], price: Integers, promoted: Flags, rng: np.random.Generator,
    ) -> list[Events]:  # fmt: skip
        """Return a unit taken and put back by somebody who had taken something else too.

        Only where stock was left at closing, so that no demand is lost by looking.
        """
        world = self.world
        items = len(world.items)
        location = taken["pair"] // items
        looked = np.flatnonzero(
            world.has_stock_events[location] & (rng.random(location.size) < _BROWSED * 2)
        )
        item = rng.integers(0, items, looked.size)
        pair = location[looked] * items + item
        left = (opening - sold).ravel()
        _, one_a_pair = np.unique(pair, return_index=True)
        keep = one_a_pair[left[pair[one_a_pair]] > 0]
        looked, pair = looked[keep], pair[keep]
        moment = taken["local_ms"][looked] + 20_000
        # The unit is the one that was next at that moment.
        clock = np.sort(unit["pair"] * MILLISECONDS_A_DAY + unit["local_ms"])
        before = np.searchsorted(clock, pair * MILLISECONDS_A_DAY + moment)
        rank = before - np.searchsorted(clock, pair * MILLISECONDS_A_DAY)
        lot = (rank[:, None] >= reach[pair]).sum(axis=1)
        location, item = np.divmod(pair, items)
        one = np.ones(pair.size, dtype=np.int64)
        back = moment + rng.integers(10_000, 90_000, pair.size)
        return [
            make_events(
                when, location, item, kind, one, lot=lot, basket=taken["basket"][looked],
                customer=taken["customer"][looked], price_cents=price[item],
                is_promoted=promoted[item].astype(np.int64),
            )
            for kind, when in ((TAKEN, moment), (PUT_BACK, back))
        ]  # fmt: skip

    def _order_lines(
        self, taken: dict[str, Integers], quantity: Integers, price: Integers,
        rng: np.random.Generator,
    ) -> Lines:  # fmt: skip
        """Return the lines of orders: all sales of places without stock events, subscriptions."""
        world = self.world
        location, item = np.divmod(taken["pair"], len(world.items))
        draws = rng.random(int(taken["basket"].max()) + 1 if location.size else 0)[taken["basket"]]
        kinds = np.array([one.kind for one in world.locations])[location]
        channel = np.select(
            [kinds == "kiosk", kinds == "store"],
            [np.where(draws < 0.8, 1, 0), np.where(draws < 0.8, 2, 0)],
            np.where(draws < 0.5, 2, np.where(draws < 0.9, 4, 0)),
        )
        at_fridge = world.has_stock_events[location]
        # Subscribers ordered in the morning what they then take at the fridge: it is a sale
        # by its stock event already, and must not count twice.
        subscribed = (
            at_fridge
            & (taken["customer"] >= 0)
            & self.people.is_subscriber[taken["customer"]]
            & (draws < 0.25)
        )
        rows = np.flatnonzero(~at_fridge | subscribed)
        ordered = np.where(
            subscribed, np.minimum(taken["local_ms"] - 30 * MINUTE, 7 * HOUR), taken["local_ms"]
        )[rows]
        # A channel is known for whole baskets, so its time is that of the basket's first line.
        basket = taken["basket"][rows]
        if rows.size:
            start = np.full(int(basket.max()) + 1, np.iinfo(np.int64).max)
            np.minimum.at(start, basket, ordered)
            ordered = start[basket]
        return Lines(
            local_ms=ordered,
            location=location[rows],
            item=item[rows],
            quantity=quantity[rows],
            basket=basket,
            customer=taken["customer"][rows],
            price_cents=price[item[rows]],
            channel=np.where(subscribed, 3, channel)[rows],
            taken_ms=np.where(subscribed, taken["local_ms"], -1)[rows],
        )

    def _vanish(self, sold: Integers, rng: np.random.Generator) -> Integers:
        """Take a few units away that no event tells of; only a count will show them."""
        there = self.lots.sum(axis=2)
        gone: Flags = (there > 0) & (rng.random(sold.shape) < _VANISHED)
        left = np.maximum(np.cumsum(self.lots, axis=2) - gone[:, :, None], 0)
        self.lots = np.diff(left, axis=2, prepend=0)
        units: Integers = gone.astype(np.int64)
        return units

    def _close(self, day: int) -> list[Events]:
        expired = np.zeros_like(self.lots)
        expired[:, :, 0] = self.lots[:, :, 0]
        blocks = [self._discard(expired, CLOSING, EXPIRED)]
        if day == self.world.options.days - 1:
            # On the last day every fridge counts one item at closing: every feed ends there.
            location = np.flatnonzero(self.world.has_stock_events)
            item = np.argmin(expired[location, :, 0] > 0, axis=1)
            quiet = expired[location, item, 0] == 0
            blocks.append(self._count(location[quiet], item[quiet], CLOSING))
        self.lots = np.concatenate(
            [self.lots[:, :, 1:], np.zeros_like(self.lots[:, :, :1])], axis=2
        )
        return blocks
