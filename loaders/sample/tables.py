"""Turn the arrays of a simulated day into the tables of the contract."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from loaders.sample.arrays import EPOCH, MILLISECONDS_A_DAY, Integers
from loaders.sample.catalogue import World
from loaders.sample.people import People
from loaders.sample.records import CHANNELS, KINDS, MINUTE, REASONS, STATUSES, Events, Lines

_HEX: Final = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
PLACED, PICKED_UP, CANCELLED, REFUNDED = range(4)


def hex_ids(
    prefix: bytes, parts: list[tuple[Integers, int]], absent: NDArray[np.bool_] | None = None
) -> pa.Array:
    """Return text ids: a prefix and zero-padded hexadecimal numbers of stated widths."""
    rows = parts[0][0].size
    width = len(prefix) + sum(digits for _, digits in parts)
    text = np.empty((rows, width), dtype=np.uint8)
    text[:, : len(prefix)] = np.frombuffer(prefix, dtype=np.uint8)
    at = len(prefix)
    for values, digits in parts:
        for digit in range(digits):
            text[:, at + digit] = _HEX[(values >> (4 * (digits - 1 - digit))) & 15]
        at += digits
    lengths = np.full(rows, width, dtype=np.int32)
    mask = None
    if absent is not None:
        text = text[~absent]
        lengths[absent] = 0
        mask = pa.py_buffer(np.packbits(~absent, bitorder="little").tobytes())
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.Array.from_buffers(
        pa.string(), rows, [mask, pa.py_buffer(offsets.tobytes()), pa.py_buffer(text.tobytes())]
    )


def _names(codes: Integers, names: pa.Array) -> pa.Array:
    absent = codes < 0
    indices = pa.array(np.where(absent, 0, codes).astype(np.int32), mask=absent)
    return pa.DictionaryArray.from_arrays(indices, names)


def _dollars(cents: Integers) -> pa.Array:
    """Return decimals of two places from cents; -1 is absent."""
    absent = cents < 0
    whole = np.zeros((cents.size, 2), dtype=np.int64)
    whole[:, 0] = np.where(absent, 0, cents)
    mask = pa.py_buffer(np.packbits(~absent, bitorder="little").tobytes())
    return pa.Array.from_buffers(
        pa.decimal128(10, 2), cents.size, [mask, pa.py_buffer(whole.tobytes())]
    )


def _instants(utc_ms: Integers) -> pa.Array:
    return pa.array(utc_ms, pa.timestamp("ms"))


@dataclass
class Tables:
    """Make tables and carry what spans days: running numbers, orders that are still open."""

    world: World
    people: People
    end_ms: int
    event_number: int = 0
    _open: list[pa.Table] = field(default_factory=list)
    _locations: pa.Array = field(init=False)
    _items: pa.Array = field(init=False)
    _customers: pa.Array = field(init=False)
    _kinds: pa.Array = field(init=False)
    _reasons: pa.Array = field(init=False)

    def __post_init__(self) -> None:
        self._locations = pa.array([one.location_id for one in self.world.locations])
        self._items = pa.array([one.item_id for one in self.world.items])
        self._customers = pa.array(self.people.customer_ids)
        self._kinds = pa.array(KINDS)
        self._reasons = pa.array(REASONS)

    def _utc(self, day: int, local_ms: Integers, location: Integers) -> Integers:
        midnight = (self.world.date_of(day) - EPOCH).days * MILLISECONDS_A_DAY
        return midnight + local_ms - self.world.utc_offsets(day)[location]

    def events_table(self, day: int, events: Events) -> pa.Table:
        """Return the stock events of a local day in order of time."""
        utc = self._utc(day, events.local_ms, events.location)
        order = np.argsort(utc, kind="stable")
        utc = utc[order]
        numbers = self.event_number + np.arange(utc.size)
        self.event_number += utc.size
        today = (self.world.date_of(day) - EPOCH).days
        lot, basket, promoted = events.lot[order], events.basket[order], events.is_promoted[order]
        return pa.table(
            {
                "event_id": hex_ids(b"", [(utc, 12), (numbers, 8)]),
                "occurred_at": _instants(utc),
                "location_id": _names(events.location[order], self._locations),
                "item_id": _names(events.item[order], self._items),
                "kind": _names(events.kind[order], self._kinds),
                "quantity": pa.array(events.quantity[order]),
                "expires_on": pa.array((today + lot).astype(np.int32), mask=lot < 0).cast(
                    pa.date32()
                ),
                "basket_id": self._baskets(day, basket),
                "customer_id": _names(events.customer[order], self._customers),
                "unit_price_usd": _dollars(events.price_cents[order]),
                "is_promoted": pa.array(promoted > 0, mask=promoted < 0),
                "reason": _names(events.reason[order], self._reasons),
            }
        )

    def _baskets(self, day: int, basket: Integers) -> pa.Array:
        today = np.full(basket.size, (self.world.date_of(day) - EPOCH).days)
        return hex_ids(b"basket-", [(today, 4), (basket, 6)], basket < 0)

    def order_versions(self, day: int, lines: Lines) -> pa.Table:
        """Return the versions of order lines that were written up to the end of a local day.

        Each change of status is a whole new line with a later `updated_at`; what changes on a
        later day is kept for that day's table, what would change after the end is dropped.
        """
        rng = np.random.default_rng([self.world.options.seed, 7, day])
        order = np.lexsort((lines.item, lines.basket))
        basket = lines.basket[order]
        orders, position = np.unique(basket, return_index=True)
        of_order = np.searchsorted(orders, basket)
        line_number = np.arange(basket.size) - position[of_order] + 1
        placed = self._utc(day, lines.local_ms[order], lines.location[order])
        draws = rng.random((4, orders.size))[:, of_order]
        taken_ms = lines.taken_ms[order]
        # One pick-up an order: the last of its lines that was taken.
        picked_at = placed + ((4 + 36 * draws[1]) * MINUTE).astype(np.int64)
        if orders.size:
            last_taken = np.full(orders.size, -1, dtype=np.int64)
            np.maximum.at(last_taken, of_order, taken_ms)
            taken_utc = self._utc(day, last_taken[of_order], lines.location[order])
            picked_at = np.where(taken_ms >= 0, taken_utc, picked_at)
        is_subscription = taken_ms >= 0
        cancelled = ~is_subscription & (draws[0] < 0.04)
        forgotten = ~is_subscription & (draws[0] >= 0.04) & (draws[0] < 0.045)
        refunded = ~cancelled & ~forgotten & ~is_subscription & (draws[2] < 0.015)
        refunded_at = picked_at + (1 + 60 * draws[3]).astype(np.int64) * 60 * MINUTE
        cancelled_at = placed + ((1 + 10 * draws[1]) * MINUTE).astype(np.int64)

        def version(rows: NDArray[np.bool_], status: int, updated: Integers) -> pa.Table:
            at = np.flatnonzero(rows)
            picked = order[at]
            today = np.full(at.size, (self.world.date_of(day) - EPOCH).days)
            return pa.table(
                {
                    "order_id": hex_ids(b"order-", [(today, 4), (basket[at], 6)]),
                    "line_number": pa.array(line_number[at]),
                    "ordered_at": _instants(placed[at]),
                    "location_id": _names(lines.location[picked], self._locations),
                    "item_id": _names(lines.item[picked], self._items),
                    "quantity": pa.array(lines.quantity[picked]),
                    "unit_price_usd": _dollars(lines.price_cents[picked]),
                    "customer_id": _names(lines.customer[picked], self._customers),
                    "channel": _names(lines.channel[picked], pa.array(CHANNELS)),
                    "status": _names(np.full(at.size, status), pa.array(STATUSES)),
                    "updated_at": _instants(updated[at]),
                }
            )

        everyone = np.ones(basket.size, dtype=np.bool_)
        table = pa.concat_tables(
            [
                *self._open,
                version(everyone, PLACED, placed),
                version(~cancelled & ~forgotten, PICKED_UP, picked_at),
                version(cancelled, CANCELLED, cancelled_at),
                version(refunded, REFUNDED, refunded_at),
            ]
        )
        # Local days end at different instants; 08:00 UTC lies after closing everywhere.
        tomorrow = ((self.world.date_of(day) - EPOCH).days + 1) * MILLISECONDS_A_DAY
        until = min(tomorrow + 8 * 60 * MINUTE, self.end_ms + 1)
        updated = table.column("updated_at").cast(pa.int64()).to_numpy()
        now = np.flatnonzero(updated < until)
        self._open = [table.take(pa.array(np.flatnonzero(updated >= until)))]
        return table.take(pa.array(now[np.argsort(updated[now], kind="stable")]))
