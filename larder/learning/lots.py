"""Stock as lots that expire, first in first out: what of it ends as waste, and what it leaves over.

Whatever is delivered later is sold later, so what happens to the lots held now depends on demand
alone. Let E[d] be the units of them that expire within d days, and r[d] the units gone by then,
sold or expired: r[d] = max(r[d - 1] + demand[d], E[d]), and what that maximum adds is waste.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from larder.learning.distribution import daily_mass
from larder.learning.frames import Floats, Ints, days, numbers, texts
from larder.learning.panel import Panel

MOST_POINTS = 64


def expiring_units(panel: Panel, shelf_life_days: Ints, horizons: int) -> Floats:
    """Tell of the units held at each close how many expire within 1, 2, … days (S, D, H).

    What is held came with the newest deliveries, and is sold up to the last day of its shelf life;
    what no delivery explains expires first.
    """
    every = np.arange(panel.width)
    delivered = np.concatenate(
        [np.zeros((panel.size, 1)), np.cumsum(panel.restocked, axis=1)], axis=1
    )
    expiring = np.empty((panel.size, panel.width, horizons))
    for horizon in range(1, horizons + 1):
        # the first delivery that is still good after the horizon
        first = np.clip(every + horizon - shelf_life_days[:, None] + 2, 0, every + 1)
        newer = delivered[:, 1:] - np.take_along_axis(delivered, first, axis=1)
        expiring[:, :, horizon - 1] = np.maximum(panel.closing - newer, 0.0)
    return expiring


def units_held(panel: Panel, held: pd.DataFrame, horizons: int) -> tuple[Floats, Floats, Floats]:
    """Sum units held: all (S,), expiring within each horizon (S, H), with a known expiry (S,)."""
    row = panel.positions(texts(held, "location_id"), texts(held, "item_id"))
    units = np.nan_to_num(numbers(held, "units"))
    expires = days(held, "expires_on")
    current = row >= 0
    # what was held on another day says nothing about tonight
    current &= days(held, "as_of_date") == panel.as_of[row]
    row, units, expires = row[current], units[current], expires[current]
    known = ~np.isnat(expires)
    left = np.where(known, (expires - panel.as_of[row]).astype(np.int64), 0)
    expiring = np.zeros((panel.size, horizons))
    for horizon in range(1, horizons + 1):
        due = units * (known & (left <= horizon))
        expiring[:, horizon - 1] = np.bincount(row, due, panel.size)
    total, dated = (
        np.asarray(np.bincount(row, weights, panel.size), dtype=np.float64)
        for weights in (units, units * known)
    )
    return total, expiring, dated


def due_within(held: Floats, expiring: Floats, shelf_life_days: Ints) -> Floats:
    """Put an end to units whose expiry nobody knows: that of the shelf life (S, H).

    Args:
        held: (S,) all units; expiring: (S, H) those known to expire within 1 … H days.
    """
    ends = np.arange(1, expiring.shape[1] + 1) >= shelf_life_days[:, None]
    return np.asarray(np.where(ends, held[:, None], expiring))


def waste_outlook(
    levels: Sequence[float], quantiles: Floats, expiring: Floats
) -> tuple[Floats, Floats]:
    """Compute what ends as waste of the lots held, for demand of independent days.

    Args:
        levels: (Q,) of the quantiles. quantiles: (R, H, Q) of the demand of the next H days.
        expiring: (R, H) units held that expire within 1 … H days.

    Returns:
        The probability that any is wasted within 1 … H days, and the units expected (R, H); both
        do not fall with the horizon. Exact for up to 63 units held, above in 63 steps.
    """
    rows, horizons = expiring.shape
    points = int(min(np.ceil(expiring.max(initial=1.0)) + 1, MOST_POINTS))
    step = np.maximum(expiring[:, -1:].max(axis=1, initial=0.0) / (points - 1), 1.0)
    due = np.ceil(expiring / step[:, None] - 1e-9)
    every = np.arange(points)
    # of the units gone: their distribution, and that part of it in which none was wasted yet
    gone = np.zeros((2, rows, points))
    gone[:, :, 0] = 1.0
    chance, units = np.empty((rows, horizons)), np.zeros((rows, horizons + 1))
    for day in range(horizons):
        mass = daily_mass(levels, quantiles[:, day], step, points)
        later = np.zeros_like(gone)
        for sold in range(points):
            later[:, :, sold:] += mass[:, sold : sold + 1] * gone[:, :, : points - sold]
        later[:, :, -1] += np.maximum(gone.sum(axis=2) - later.sum(axis=2), 0.0)
        short = np.maximum(due[:, day : day + 1] - every, 0.0)
        lost = later[0] * (short > 0)
        units[:, day + 1] = units[:, day] + step * (lost * short).sum(axis=1)
        later *= short[None] == 0
        at = np.minimum(due[:, day], points - 1).astype(np.int64)
        later[0, np.arange(rows), at] += lost.sum(axis=1)
        gone = later
        chance[:, day] = 1.0 - gone[1].sum(axis=1)
    ever = np.maximum.accumulate(np.clip(chance, 0.0, 1.0), axis=1)
    return ever, np.minimum(units[:, 1:], expiring)


def unmet_demand(paths: Ints, expiring: Floats, held: Floats) -> Floats:
    """Tell what demand leaves the lots held now unable to serve, day by day (R, H, P).

    Args:
        paths: (R, H, P) units of demand. expiring: (R, H) of the units held, those that expire
        within 1 … H days. held: (R,) all units held.
    """
    unmet = np.empty(paths.shape)
    gone = np.zeros((paths.shape[0], paths.shape[2]))
    for day in range(paths.shape[1]):
        left = held[:, None] - gone
        unmet[:, day] = np.maximum(paths[:, day] - left, 0.0)
        gone = np.maximum(gone + np.minimum(paths[:, day], left), expiring[:, day : day + 1])
    return unmet
