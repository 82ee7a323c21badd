"""How much to order: up to the unit that costs as much as it earns.

For units that are good for several days, stock is replayed first in, first out, over simulated
days. A unit that is ordered on top of q others is sold in place of a missed sale if, before the
following delivery comes, demand leaves more than q units to the order; it is wasted if by the end
of its shelf life demand has left no more than q. Later deliveries are sold after it and change
neither. So the best q is the least at which

    underage · P(left to it until the following delivery > q) <= overage · P(left in its life <= q)

which for a shelf life of one delivery is the critical fractile. Source: the near-myopic rule for
perishables of Nandakumar and Morton (1993, Management Science 39), with lots followed exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from larder.learning.demand import PARAMETERS as DEMAND_PARAMETERS
from larder.learning.demand import Demand
from larder.learning.frames import Floats, Ints, numbers, texts
from larder.learning.panel import Panel

MODEL_NAME = "order_weekday_quantile"
MODEL_VERSION = "weekday_quantile-1"
PARAMETERS: dict[str, Any] = {
    **DEMAND_PARAMETERS,
    "critical_ratio": "(price - cost) / (price + disposal cost)",
    "rounding": "up to whole packs",
    "cover": "days until the following delivery, at most the shelf life",
}


@dataclass(frozen=True)
class Costs:
    """Hold the costs of a unit in US dollars (R,): of one too few, of one too many."""

    underage: Floats
    overage: Floats

    @property
    def critical_ratio(self) -> Floats:
        """The critical fractile, from 0 to 1; 0 (order nothing) where a sale earns nothing."""
        both = self.underage + self.overage
        return np.asarray(np.divide(self.underage, both, out=np.zeros_like(both), where=both > 0))


def unit_costs(price: Floats, cost: Floats, disposal: Floats) -> Costs:
    """Derive what a missed sale and a wasted unit cost, all in US dollars a unit.

    Underage = price - cost, overage = cost + disposal; an unknown disposal cost is 0, and an
    unknown price or cost earns nothing. Source: Arrow, Harris and Marschak (1951, Econometrica 19).
    """
    known = np.isfinite(price) & np.isfinite(cost)
    spent = np.where(known, cost, 0.0)
    return Costs(
        underage=np.where(known, np.maximum(price - spent, 0.0), 0.0),
        overage=np.maximum(spent + np.nan_to_num(disposal), 0.0),
    )


def item_costs(panel: Panel, items: pd.DataFrame) -> Costs:
    """Read each pair's costs of one unit too few and one too many; none if the price is unknown."""
    known = pd.DataFrame(
        {
            name: numbers(items, name)
            for name in ("price_usd", "unit_cost_usd", "disposal_cost_usd")
        },
        index=texts(items, "item_id"),
    )
    found = known.groupby(level=0).first().reindex(panel.item_ids)
    price, cost, disposal = (found[name].to_numpy() for name in known.columns)
    is_priced = np.isfinite(price) & np.isfinite(cost)
    costs = unit_costs(price, cost, disposal)
    return Costs(costs.underage * is_priced, costs.overage * is_priced)


def whole_packs(units: Floats, pack_size: Ints) -> Ints:
    """Round units up to whole packs; nothing for 0 or less."""
    pack = np.maximum(pack_size, 1)
    return np.asarray(np.ceil(np.maximum(units, 0.0) / pack - 1e-9).astype(np.int64) * pack)


@dataclass(frozen=True)
class Plan:
    """Hold R orders: units, and what each is expected to cost in US dollars, missed and wasted."""

    units: Ints
    expected_cost: Floats


def plan_orders(
    until_next: Floats,
    in_life: Floats,
    costs: Costs,
    pack_size: Ints,
    places: Ints | None = None,
    room: Floats | None = None,
) -> Plan:
    """Choose whole packs from simulated demand that the stock at hand leaves to the order.

    Args:
        until_next: (R, P) units left to the order until the following delivery, on P paths.
        in_life: (R, P) units left to it in its shelf life, at least as many.
        costs: (R,) each. pack_size: (R,) units.
        places: (R,) codes of the places that the orders go to. room: (R,) units that fit in the
            place on top of its stock, the same for each order of a place; NaN for no limit.
    """
    until_next, in_life = np.sort(until_next, axis=1), np.sort(in_life, axis=1)

    def gain(units: Ints) -> Floats:
        """Return what the pack on top of so many units earns (R,), in US dollars."""
        more = units + pack
        return _cost(units, until_next, in_life, costs) - _cost(more, until_next, in_life, costs)

    pack = np.maximum(pack_size, 1)
    # the gain falls with every pack: halve the range that the last one which pays lies in
    low = np.zeros(len(pack), dtype=np.int64)
    high = np.ceil(in_life[:, -1] / pack).astype(np.int64) + 1
    while (low < high).any():
        middle = (low + high) // 2
        pays = gain(middle * pack) > 0
        low, high = np.where(pays, middle + 1, low), np.where(pays, high, middle)
        low, high = np.minimum(low, high), high
    packs = np.where(costs.critical_ratio > 0, low, 0)
    if places is not None and room is not None:
        packs = _fitting(packs, pack, places, room, gain)
    units = packs * pack
    return Plan(units, _cost(units, until_next, in_life, costs))


def _cost(units: Ints, until_next: Floats, in_life: Floats, costs: Costs) -> Floats:
    missed = np.maximum(until_next - units[:, None], 0.0).mean(axis=1)
    wasted = np.maximum(units[:, None] - in_life, 0.0).mean(axis=1)
    return np.asarray(costs.underage * missed + costs.overage * wasted)


def _fitting(
    packs: Ints,
    pack: Ints,
    places: Ints,
    room: Floats,
    gain: Callable[[Ints], Floats],
) -> Ints:
    """Take back the packs that earn least a unit, until the orders of each place fit in it."""
    fitting = packs.copy()
    while True:
        over = np.bincount(places, fitting * pack)[places] > np.maximum(room, 0.0)
        open_ = over & np.isfinite(room) & (fitting > 0)
        if not open_.any():
            return fitting
        earned = np.where(open_, gain((fitting - 1) * pack) / pack, np.inf)
        order = np.lexsort((np.arange(len(packs)), earned, places))
        first = np.unique(places[order], return_index=True)[1]
        taken = order[first]
        fitting[taken[open_[taken]]] -= 1


def order_quantities(
    demand: Demand, costs: Costs, stock_units: Floats, pack_size: Ints
) -> tuple[Ints, Floats]:
    """Choose how many units to order, and say what is expected to be lost with that choice.

    Returns:
        The order in units (R,), and the expected cost in US dollars (R,) of units missed or left
        over at the end of the days covered, stock included.
    """
    ratio = costs.critical_ratio
    wanted = np.where(ratio > 0, demand.quantile(ratio), 0.0)
    stock = np.maximum(np.nan_to_num(stock_units), 0.0)
    quantity = whole_packs(wanted - stock, pack_size)
    return quantity, demand.expected_cost(stock + quantity, costs.underage, costs.overage)
