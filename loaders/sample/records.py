"""What a day of the sample network leaves: stock events, order lines, and their codes.

Times are local milliseconds of the day until `tables` turns them into UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from loaders.sample.arrays import Floats, Integers

KINDS: Final = ("restocked", "taken", "put_back", "discarded", "counted")
RESTOCKED, TAKEN, PUT_BACK, DISCARDED, COUNTED = range(5)
REASONS: Final = ("expired", "damaged", "recalled", "temperature", "missing")
EXPIRED, DAMAGED, RECALLED, TEMPERATURE, MISSING = range(5)
CHANNELS: Final = ("app", "kiosk", "pos", "subscription", "qr_menu")
STATUSES: Final = ("placed", "picked_up", "cancelled", "refunded")

MINUTE: Final = 60_000
HOUR: Final = 60 * MINUTE


@dataclass(frozen=True)
class Events:
    """Hold stock events of a day, one array each; -1 stands for absent."""

    local_ms: Integers
    location: Integers
    item: Integers
    kind: Integers
    quantity: Integers
    lot: Integers  # days until expiry
    basket: Integers
    customer: Integers
    price_cents: Integers
    is_promoted: Integers
    reason: Integers


@dataclass(frozen=True)
class Lines:
    """Hold order lines of a day as placed; -1 stands for absent."""

    local_ms: Integers
    location: Integers
    item: Integers
    quantity: Integers
    basket: Integers
    customer: Integers
    price_cents: Integers
    channel: Integers
    taken_ms: Integers  # of a subscription, when it was taken at the fridge; else -1


@dataclass(frozen=True)
class Day:
    """Hold what happened on one local day."""

    events: Events
    lines: Lines
    sales_mean: Floats  # [L, I] that this morning's delivery was ordered on
    order_up_to: Integers  # [L, I]
    restocked: Integers  # [L, I]
    wanted: Integers  # [L, I] units, sold or not
    vanished: Integers  # [L, I]
    rated: tuple[Integers, Integers, Integers]  # customer, item, UTC milliseconds


def make_events(
    local_ms: Integers, location: Integers, item: Integers, kind: int, quantity: Integers,
    *, lot: Integers | int = -1, basket: Integers | int = -1, customer: Integers | int = -1,
    price_cents: Integers | int = -1, is_promoted: Integers | int = -1,
    reason: Integers | int = -1,
) -> Events:  # fmt: skip
    """Return the events of one kind; what is said once holds for each of them."""

    def full(values: Integers | int) -> Integers:
        return np.broadcast_to(np.asarray(values, dtype=np.int64), local_ms.shape)

    return Events(
        local_ms, location, item, full(kind), quantity, full(lot), full(basket), full(customer),
        full(price_cents), full(is_promoted), full(reason),
    )  # fmt: skip
