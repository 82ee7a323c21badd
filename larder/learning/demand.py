"""What people wanted, not only what was sold: same-weekday demand with stock-outs as censoring.

On a day that sold out, the units sold are a lower bound of demand. The distribution is the
product-limit estimate of Kaplan and Meier (1958, JASA 53:457), with the mass beyond a censored
largest value put on that value (Efron 1967).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from larder.learning.frames import Bools, Floats, Ints
from larder.learning.panel import Panel

WEEKS = 8
LEVEL_DAYS = 56
LEVEL_PRIOR_DAYS = 7.0
KIN_WEIGHT = 4.0
KIN_POINTS = 10
PARAMETERS: dict[str, Any] = {
    "same_weekdays": WEEKS,
    "level_days": LEVEL_DAYS,
    "level_prior_days": LEVEL_PRIOR_DAYS,
    "item_weight_in_days": KIN_WEIGHT,
    "item_points": KIN_POINTS,
    "item_scatter": "Anscombe root residuals by item and weekday",
    "censoring": "Kaplan-Meier, stocked-out days right-censored",
}
_TINY = 1e-9


@dataclass(frozen=True)
class Windows:
    """Hold, for R rows, the demand seen in the last W same-weekday windows, the newest first.

    `weight` is 1 for a window whose days are all observed, else 0; a `censored` window sold out
    on one of its days, so its units are a lower bound; `exposure` is its days with stock.
    """

    units: Floats
    censored: Bools
    weight: Floats
    exposure: Floats
    newest: Floats


@dataclass(frozen=True)
class Demand:
    """Hold R discrete distributions: sorted units and their probability, both (R, M)."""

    units: Floats
    mass: Floats
    own_days: Floats

    def quantile(self, level: Floats | float) -> Floats:
        """Return the smallest units whose cumulative probability reaches the level (R,)."""
        return weighted_quantile(self.units, self.mass, level)

    def expected_cost(self, available: Floats, underage: Floats, overage: Floats) -> Floats:
        """Return the expected cost (R,) of having `available` units, in the unit of the costs."""
        gap = self.units - available[:, None]
        missed = np.sum(self.mass * np.maximum(gap, 0), axis=1)
        left = np.sum(self.mass * np.maximum(-gap, 0), axis=1)
        return np.asarray(underage * missed + overage * left)


def product_limit(units: Floats, censored: Bools, weight: Floats) -> tuple[Floats, Floats]:
    """Estimate R distributions from weighted, right-censored observations.

    Args:
        units: (R, M) observed units; censored: (R, M) whether they are only a lower bound;
        weight: (R, M) at least 0, where 0 means no observation.

    Returns:
        The units sorted, and their probability: (R, M) each. Rows sum to 1, or to 0 where a row
        has no observation. At a tie, a full observation comes before a censored one. Never
        smaller, in any quantile, than the same data with the censoring ignored.
    """
    seen = weight > 0
    order = np.lexsort((censored, np.where(seen, units, np.inf)), axis=-1)
    value = np.take_along_axis(units, order, axis=-1)
    share = np.take_along_axis(np.where(seen, weight, 0.0), order, axis=-1)
    event = ~np.take_along_axis(censored, order, axis=-1)
    at_risk = np.cumsum(share[:, ::-1], axis=1)[:, ::-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        hazard = np.where(event & (share > 0), share / at_risk, 0.0)
    survival = np.cumprod(1.0 - np.clip(hazard, 0.0, 1.0), axis=1)
    mass = np.concatenate([np.ones((len(value), 1)), survival[:, :-1]], axis=1) - survival
    count = seen.sum(axis=1)
    filled = np.flatnonzero(count)
    last = count[filled] - 1
    # what a censored largest value leaves over stays on it: the least that is known
    mass[filled, last] += survival[filled, last]
    value = np.where(np.arange(value.shape[1]) < count[:, None], value, 0.0)
    return value, mass


def weighted_quantile(units: Floats, mass: Floats, level: Floats | float) -> Floats:
    """Return, for each row of sorted units, the smallest whose cumulative mass reaches the level.

    Rows without mass give 0. A level of 0 gives the smallest unit that has any mass.
    """
    reached = np.cumsum(mass, axis=1) >= np.maximum(np.asarray(level), _TINY).reshape(-1, 1) - _TINY
    reached &= np.cumsum(mass, axis=1) > 0
    total = mass.sum(axis=1)
    last = units.shape[1] - 1 - np.argmax(mass[:, ::-1] > 0, axis=1)
    at = np.where(reached.any(axis=1), np.argmax(reached, axis=1), last)
    return np.where(total > 0, units[np.arange(len(units)), at], 0.0)


def days_looked_at(ahead: Ints, cover: Ints) -> int:
    """Return how many of the newest days `demand_distributions` looks at; older change nothing."""
    return max(LEVEL_DAYS, 7 * (int(_nearest_weeks(ahead, cover).max(initial=0)) + WEEKS))


def same_weekday_windows(panel: Panel, rows: Ints, ahead: Ints, cover: Ints) -> Windows:
    """Read the last 8 windows of `cover` days that began on the weekday `ahead` days after today.

    Args:
        panel: what is known; its last column is "today".
        rows: (R,) rows of the panel, -1 for a pair without any.
        ahead: (R,) days from today to the first day covered, at least 1; cover: (R,) at least 1.
    """
    if panel.width == 0 or panel.size == 0:
        nothing = np.zeros((len(rows), WEEKS))
        return Windows(nothing, nothing > 0, nothing, nothing, np.full(len(rows), np.nan))
    panel = panel.columns(max(0, panel.width - days_looked_at(ahead, cover)), panel.width)
    weeks = _nearest_weeks(ahead, cover)[:, None] + np.arange(WEEKS)
    start = panel.width - 1 + ahead[:, None] - 7 * weeks
    valid = (start >= 0) & (rows[:, None] >= 0)
    first = np.where(valid, start, 0)
    stop = np.minimum(first + cover[:, None], panel.width)
    row = np.maximum(rows, 0)[:, None]

    def total(cells: Floats | Bools) -> Floats:
        sums = np.zeros((panel.size, panel.width + 1))
        np.cumsum(cells, axis=1, out=sums[:, 1:])
        return np.asarray(sums[row, stop] - sums[row, first])

    valid &= total(panel.observed) == cover[:, None]
    units = np.where(valid, total(panel.sold), 0.0)
    censored = valid & (total(panel.stocked_out) > 0)
    newest = np.where(valid[:, 0], units[:, 0], np.nan)
    exposure = np.where(valid, total(panel.available), 0.0)
    return Windows(units, censored, valid.astype(np.float64), exposure, newest)


def levels(panel: Panel, rows: Ints, items: Ints) -> Floats:
    """Estimate units wanted a day (R,): sold per day with stock, over the last 56 days.

    Shrunk to the item's level with the weight of 7 days, and the item's to that of all. `items`
    (R,) are item codes of the panel, -1 for an unknown item. A pair without a day (row -1) has
    exactly its item's level, an unknown item that of all.
    """
    recent = panel.columns(max(0, panel.width - LEVEL_DAYS), panel.width)
    sold = np.where(recent.observed, recent.sold, 0).sum(axis=1)
    exposure = np.where(recent.observed, recent.available, 0).sum(axis=1)
    overall = sold.sum() / exposure.sum() if exposure.sum() > 0 else 0.0
    item_sold = np.bincount(panel.item_codes, sold)
    item_exposure = np.bincount(panel.item_codes, exposure)
    item_level = np.append(
        (item_sold + LEVEL_PRIOR_DAYS * overall) / (item_exposure + LEVEL_PRIOR_DAYS), overall
    )
    own_sold, own_exposure = np.append(sold, 0.0)[rows], np.append(exposure, 0.0)[rows]
    return np.asarray(
        (own_sold + LEVEL_PRIOR_DAYS * item_level[items]) / (own_exposure + LEVEL_PRIOR_DAYS)
    )


def grouped_quantiles(units: Floats, censored: Bools, groups: Ints, points: Floats) -> Floats:
    """Estimate product-limit quantiles of G groups of observations.

    Args:
        units, censored, groups: (N,) observations with group codes 0 … G - 1, none empty.
        points: (P,) probabilities.

    Returns:
        (G, P). The estimate of `product_limit`, for groups of unequal size, in one sort.
    """
    order = np.lexsort((censored, units, groups))
    value, event, group = units[order], ~censored[order], groups[order]
    sizes = np.bincount(group)
    start = np.cumsum(sizes) - sizes
    at_risk = (start + sizes)[group] - np.arange(len(value))
    # the logarithm of a group's last factor is -inf when everybody's demand is known: capped, so
    # that a running sum over all groups can be cut into groups again
    with np.errstate(divide="ignore"):
        step = np.where(event, np.maximum(np.log1p(-1.0 / at_risk), -50.0), 0.0)
    total = np.cumsum(step)
    before = np.where(start > 0, total[start - 1], 0.0)
    reached = 1.0 - np.exp(total - before[group])
    reached[start + sizes - 1] = 1.0
    position = np.searchsorted(
        2.0 * group + reached, 2.0 * np.arange(len(sizes))[:, None] + points - _TINY
    )
    return np.asarray(value[position])


def demand_distributions(
    panel: Panel, rows: Ints, items: Ints, ahead: Ints, cover: Ints
) -> tuple[Demand, Windows]:
    """Estimate what each row will be asked for over its `cover` days, starting `ahead` days on.

    A pair's last 8 same-weekday windows, censored where stock ran out, joined by what its level
    and the scatter of its item on that weekday at all places suggest, together worth 4 windows: a
    thin series leans on its kin, and the mass beyond a stock-out is spread over what the item
    sells elsewhere. Scatter is measured on Anscombe's (1948) root scale, where that of counts
    does not depend on their level. Never looks past the panel's last column. Time O(S · D).
    """
    windows = same_weekday_windows(panel, rows, ahead, cover)
    calendar, item = _groups(items, ahead, cover)
    level = levels(panel, rows, items)
    expected = level * cover * _weekday_factors(windows, level, calendar, item)
    kin = _kin_scatter(windows, expected, calendar, item)
    has_kin = np.isfinite(kin[:, :1]) & (expected > 0)[:, None]
    root = np.maximum(_root(expected)[:, None] + np.where(has_kin, kin, 0.0), _root(np.zeros(1)))
    kin_units = np.rint(np.where(has_kin, root**2 - 0.375, 0.0))
    kin_weight = np.broadcast_to(np.where(has_kin, KIN_WEIGHT / KIN_POINTS, 0.0), kin.shape)
    units, mass = product_limit(
        np.concatenate([windows.units, kin_units], axis=1),
        np.concatenate([windows.censored, np.zeros(kin.shape, dtype=np.bool_)], axis=1),
        np.concatenate([windows.weight, kin_weight], axis=1),
    )
    return Demand(units, mass, windows.weight.sum(axis=1)), windows


def _nearest_weeks(ahead: Ints, cover: Ints) -> Ints:
    """Count the weeks back to the newest window of the same weekdays that is over today."""
    return np.asarray(-(-(ahead + cover - 1) // 7))


def _root(units: Floats) -> Floats:
    return np.asarray(np.sqrt(units + 0.375))


def _groups(items: Ints, ahead: Ints, cover: Ints) -> tuple[Ints, Ints]:
    """Code the rows by weekday and days covered, and by these and the item."""
    calendar = pd.factorize((ahead % 7) * 1000 + cover, sort=True)[0].astype(np.int64)
    item = pd.factorize(calendar * (items.max(initial=-1) + 2) + items + 1, sort=True)[0]
    return calendar, item.astype(np.int64)


def _weekday_factors(windows: Windows, level: Floats, calendar: Ints, item: Ints) -> Floats:
    """Estimate how much more than on a usual day is asked for on these weekdays (R,).

    Units sold per unit expected while there was stock: by item, shrunk to all items with the
    weight of one pair's 8 windows.
    """
    sold = windows.units.sum(axis=1)
    usual = (windows.exposure * level[:, None]).sum(axis=1)
    all_sold, all_usual = np.bincount(calendar, sold), np.bincount(calendar, usual)
    of_all = np.divide(all_sold, all_usual, out=np.ones(len(all_sold)), where=all_usual > 0)
    count = np.maximum(np.bincount(item, usual > 0), 1)
    item_usual = np.bincount(item, usual)
    prior = (item_usual / count)[item]
    mixed = np.bincount(item, sold)[item] + prior * of_all[calendar]
    total = item_usual[item] + prior
    return np.divide(mixed, total, out=of_all[calendar].copy(), where=total > 0)


def _kin_scatter(windows: Windows, expected: Floats, calendar: Ints, item: Ints) -> Floats:
    """Estimate how demand scatters around what is expected, on the root scale, at ten points.

    By item, leaning on all items (R, 10); NaN where nothing was observed for a weekday and cover.
    """
    points = (np.arange(KIN_POINTS) + 0.5) / KIN_POINTS
    seen = (windows.weight > 0) & (expected > 0)[:, None]
    if not seen.any():
        return np.full((len(item), KIN_POINTS), np.nan)
    scatter = (_root(windows.units) - _root(expected)[:, None])[seen]

    def by(group: Ints) -> tuple[Floats, Floats]:
        present, code = np.unique(
            np.broadcast_to(group[:, None], seen.shape)[seen], return_inverse=True
        )
        quantiles = np.full((int(group.max()) + 1, KIN_POINTS), np.nan)
        quantiles[present] = grouped_quantiles(
            scatter, windows.censored[seen], code.astype(np.int64), points
        )
        count = np.zeros(len(quantiles))
        count[present] = np.bincount(code)
        return quantiles[group], count[group]

    of_all, _ = by(calendar)
    of_item, observations = by(item)
    weight = (observations / (observations + WEEKS))[:, None]
    return np.where(np.isfinite(of_item), weight * of_item + (1 - weight) * of_all, of_all)
