"""How much to order: the quantile of demand at which one more unit costs as much as it earns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from larder.learning.demand import PARAMETERS as DEMAND_PARAMETERS
from larder.learning.demand import Demand
from larder.learning.frames import Floats, Ints

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


def whole_packs(units: Floats, pack_size: Ints) -> Ints:
    """Round units up to whole packs; nothing for 0 or less."""
    pack = np.maximum(pack_size, 1)
    return np.asarray(np.ceil(np.maximum(units, 0.0) / pack - 1e-9).astype(np.int64) * pack)


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
