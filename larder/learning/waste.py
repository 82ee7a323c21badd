"""How likely the units held tonight end as waste: a place's own rate, shrunk to its kin.

Assumptions, all from day totals: units leave first in, first out, so a discard is always of the
oldest; on a day, units are sold or go missing before the rest is discarded (what expires is
discarded at closing); units that a count finds join the newest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from larder.learning.frames import Bools, Floats, Ints
from larder.learning.panel import Panel

MODEL_NAME = "waste_shrunk_rate"
MODEL_VERSION = "shrunk_rate-1"
MAX_HORIZON_DAYS = 30
STRENGTHS = np.geomspace(0.5, 2000.0, 25)
STRENGTH_GROUPS = 2000
PARAMETERS: dict[str, Any] = {
    "history_days": 180,
    "max_horizon_days": MAX_HORIZON_DAYS,
    "levels": ["location-item", "item + location on the log-odds scale", "global"],
    "strength": "maximum beta-binomial marginal likelihood over 25 values from 0.5 to 2000",
    "strength_groups": STRENGTH_GROUPS,
    "overlap_weight": "1 / horizon_days",
}
_EDGE = 1e-6


@dataclass(frozen=True)
class WasteRates:
    """Hold the estimates of S pairs by H horizons, given that something is held.

    `probability` and `share` (of the units held that are wasted) do not decrease with the horizon;
    `own` is the pair's own rate (NaN without a day), `overall` the rate of all pairs, `held_days`
    the number of days with stock that the first horizon could learn from.
    """

    probability: Floats
    share: Floats
    own: Floats
    overall: Floats
    held_days: Ints
    strength: Floats


def held_outcomes(panel: Panel, horizons: int) -> Iterator[tuple[int, Floats, Bools]]:
    """Follow the units held at each close: how many were discarded by 1, 2, … days later.

    Yields:
        (h, wasted, known): both of shape (S, D - h); `wasted[s, t]` counts the units held at the
        close of day t that were discarded in t + 1 … t + h; `known` where units were held and
        every one of these days is observed.
    """
    outflow = panel.sold + panel.missing
    remaining = panel.closing
    wasted = np.zeros_like(panel.closing)
    known = panel.observed & (panel.closing > 0)
    for horizon in range(1, min(horizons, panel.width - 1) + 1):
        origins = panel.width - horizon
        remaining = np.maximum(remaining[:, :origins] - outflow[:, horizon:], 0)
        gone = np.minimum(panel.discarded[:, horizon:], remaining)
        remaining = remaining - gone
        wasted = wasted[:, :origins] + gone
        known = known[:, :origins] & panel.observed[:, horizon:]
        yield horizon, wasted, known


def log_gamma(values: Floats) -> Floats:
    """Compute ln Γ(x) for x > 0 by Stirling's series after shifting x by 8 (error below 1e-10).

    Source: Abramowitz and Stegun (1964), 6.1.41. SciPy is not assumed on every engine.
    """
    product = np.ones_like(values)
    for step in range(8):
        product = product * (values + step)
    far = values + 8
    series = 1 / (12 * far) - 1 / (360 * far**3) + 1 / (1260 * far**5) - 1 / (1680 * far**7)
    return np.asarray(
        (far - 0.5) * np.log(far) - far + 0.5 * np.log(2 * np.pi) + series - np.log(product)
    )


def prior_strength(successes: Floats, trials: Floats, mean: Floats) -> float:
    """Choose how many days of evidence the parent's rate is worth.

    Maximises the beta-binomial marginal likelihood of the groups (of 1,000 to 2,000 of them, where
    there are more) over a fixed grid, the prior of a group being Beta(m·mean, m·(1 - mean)).
    Counts may be fractional (overlapping windows).
    Source: Gelman et al., Bayesian Data Analysis (3rd ed.), 5.3; Casella (1985).
    """
    seen = np.flatnonzero(trials > 0)
    if not len(seen):
        return float(STRENGTHS[-1])
    # one number is known well enough from some groups, spread evenly over all
    seen = seen[:: -(-len(seen) // STRENGTH_GROUPS)]
    hits, total, centre = successes[seen], trials[seen], np.clip(mean[seen], _EDGE, 1 - _EDGE)
    misses = np.maximum(total - hits, 0)
    m = STRENGTHS[:, None]
    likelihood = np.sum(
        log_gamma(hits + m * centre)
        - log_gamma(m * centre)
        + log_gamma(misses + m * (1 - centre))
        - log_gamma(m * (1 - centre))
        - log_gamma(total + m),
        axis=1,
    ) + len(total) * log_gamma(STRENGTHS)
    return float(STRENGTHS[int(np.argmax(likelihood))])


def shrink(successes: Floats, trials: Floats, mean: Floats, strength: float) -> Floats:
    """Pull each group's rate towards its parent's: (k + m·mean) / (n + m)."""
    return np.asarray((successes + strength * mean) / (trials + strength))


def hierarchical_rates(
    successes: Floats, trials: Floats, locations: Ints, items: Ints
) -> tuple[Floats, float, float]:
    """Estimate each pair's rate, shrunk to its item and its location, and these to the whole.

    The parent of a pair adds its item's and its location's effect on the log-odds scale.

    Returns:
        The rates (S,), the rate of all (Jeffreys' prior), and the strength of the pairs' parent.
    """
    overall = float((successes.sum() + 0.5) / (trials.sum() + 1.0))
    centre = np.log(overall) - np.log1p(-overall)
    effects = np.full(len(trials), centre)
    for codes in (locations, items):
        hits = np.bincount(codes, successes).astype(np.float64)
        total = np.bincount(codes, trials).astype(np.float64)
        mean = np.full(len(total), overall)
        rate = shrink(hits, total, mean, prior_strength(hits, total, mean))
        rate = np.clip(rate, _EDGE, 1 - _EDGE)
        effects += (np.log(rate) - np.log1p(-rate) - centre)[codes]
    parent = 1 / (1 + np.exp(-effects))
    strength = prior_strength(successes, trials, parent)
    return np.clip(shrink(successes, trials, parent, strength), 0, 1), overall, strength


def fit_waste_rates(panel: Panel, shelf_life_days: Ints) -> WasteRates:
    """Estimate, per pair and horizon, the probability and the share of waste of what is held.

    Neighbouring origins share h - 1 of the h days that they look at, so a day counts 1 / h.
    A horizon that the history is too short for takes the one before it.
    """
    horizons = horizon_count(shelf_life_days)
    shape = (panel.size, horizons)
    probability, share, own = np.zeros(shape), np.zeros(shape), np.full(shape, np.nan)
    overall, strengths = np.zeros(horizons), np.zeros(horizons)
    held_days = np.zeros(panel.size, dtype=np.int64)
    reached = 0
    for horizon, wasted, known in held_outcomes(panel, horizons):
        at, alive = horizon - 1, shelf_life_days >= horizon
        total = np.where(alive, known.sum(axis=1), 0).astype(np.float64)
        hits = np.where(alive, ((wasted > 0) & known).sum(axis=1), 0).astype(np.float64)
        lost = np.where(alive, np.where(known, wasted, 0).sum(axis=1), 0.0)
        closing = np.where(known, panel.closing[:, : known.shape[1]], 0)
        held = np.where(alive, closing.sum(axis=1), 0.0)
        held_a_day = held.sum() / total.sum() if total.sum() else 1.0
        codes = (panel.location_codes, panel.item_codes)
        probability[:, at], overall[at], strengths[at] = hierarchical_rates(
            hits / horizon, total / horizon, *codes
        )
        # counted in days' worth of stock, so that the two estimates lean on their kin alike
        unit = held_a_day * horizon
        share[:, at], _, _ = hierarchical_rates(lost / unit, held / unit, *codes)
        np.divide(hits, total, out=own[:, at], where=total > 0)
        if horizon == 1:
            held_days = total.astype(np.int64)
        reached = horizon
    if reached == 0 and panel.size:
        probability[:], share[:], overall[:] = 0.5, 0.5, 0.5
    elif reached < horizons:
        later = slice(reached, None)
        probability[:, later] = probability[:, [reached - 1]]
        share[:, later] = share[:, [reached - 1]]
        own[:, later] = own[:, [reached - 1]]
        overall[later] = overall[reached - 1]
    return WasteRates(
        probability=np.maximum.accumulate(probability, axis=1),
        share=np.maximum.accumulate(share, axis=1),
        own=own,
        overall=np.maximum.accumulate(overall),
        held_days=held_days,
        strength=strengths,
    )


def horizon_count(shelf_life_days: Ints) -> int:
    """Return the longest horizon in days: the longest shelf life, at most 30."""
    return int(min(shelf_life_days.max(initial=1), MAX_HORIZON_DAYS))


def waste_risks(rates: WasteRates, held_units: Floats) -> tuple[Floats, Floats]:
    """Turn rates into the probability of any waste and the units expected, for what is held now.

    Returns:
        Two arrays (S, H): zero where nothing is held, not decreasing with the horizon, and with
        probability ≤ expected units ≤ probability · units held (a unit is whole).
    """
    held = np.maximum(held_units, 0)[:, None]
    probability = np.where(held > 0, rates.probability, 0.0)
    expected = np.clip(held * rates.share, probability * np.minimum(held, 1), probability * held)
    return probability, np.maximum.accumulate(expected, axis=1)
