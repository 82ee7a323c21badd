"""The whole distribution of a day's demand, from its quantiles: chances of units, and paths."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from larder.learning.frames import Floats, Ints

LEAST = -0.5
_LEAST_STEP = 1e-6


def cumulative(levels: Sequence[float], quantiles: Floats, units: Floats) -> Floats:
    """Give the probability that demand is at most so many units.

    Straight between the quantiles and from nothing at -0.5, for whole units lie within half a unit
    around them; beyond the last one an exponential tail
    through the last two.

    Args:
        levels: (Q,) of the quantiles, ascending, in (0, 1).
        quantiles: (R, Q) units, ascending, at least -0.5. units: (R, M).

    Returns:
        Probabilities (R, M).
    """
    reached = np.zeros(units.shape)
    low, at = np.full(len(quantiles), LEAST), 0.0
    for number, level in enumerate(levels):
        high = quantiles[:, number]
        step = np.maximum(high - low, _LEAST_STEP)
        reached += (level - at) * np.clip((units - low[:, None]) / step[:, None], 0.0, 1.0)
        low, at = high, level
    beyond = np.maximum(units - low[:, None], 0.0)
    beyond_share = -np.expm1(-beyond / _tail(levels, quantiles)[:, None])
    return np.asarray(reached + (1.0 - at) * beyond_share)


def daily_mass(levels: Sequence[float], quantiles: Floats, step: Floats, points: int) -> Floats:
    """Give the probability of 0, 1, 2, … steps of units (R, points); the last one is a lower bound.

    `step` (R,) is how many units are counted as one.
    """
    edges = step[:, None] * (np.arange(points - 1) + 0.5)
    below = cumulative(levels, quantiles, edges)
    ends = np.zeros((len(quantiles), 1)), np.ones((len(quantiles), 1))
    return np.diff(np.concatenate([ends[0], below, ends[1]], axis=1), axis=1)


def inverse(levels: Sequence[float], quantiles: Floats, chance: Floats) -> Floats:
    """Give the units that demand exceeds with 1 - chance: `cumulative` turned round.

    Args:
        levels: (Q,). quantiles: (R, Q). chance: (R, M) or (1, M), from 0 to 1.
    """
    units = np.full((len(quantiles), chance.shape[1]), LEAST)
    low, at = np.full(len(quantiles), LEAST), 0.0
    for number, level in enumerate(levels):
        share = np.clip((chance - at) / (level - at), 0.0, 1.0)
        units += share * (quantiles[:, number] - low)[:, None]
        low, at = quantiles[:, number], level
    left = np.clip((1.0 - chance) / (1.0 - at), _LEAST_STEP, 1.0)
    return units - np.log(left) * _tail(levels, quantiles)[:, None]


def demand_paths(levels: Sequence[float], quantiles: Floats, paths: int, seed: int) -> Ints:
    """Draw whole units of H days (R, H, paths).

    The same draws serve every row, so that a row does not change with those around it; of each day
    they are evenly spread, so that fewer of them do (Latin hypercube; McKay, Beckman and Conover
    1979, Technometrics 21).

    Args:
        levels: (Q,). quantiles: (R, H, Q) units of each day. seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    even = (np.arange(paths) + 0.5) / paths
    units = np.empty((*quantiles.shape[:2], paths), dtype=np.int64)
    for day in range(quantiles.shape[1]):
        chance = rng.permutation(even)[None]
        units[:, day] = np.floor(inverse(levels, quantiles[:, day], chance) + 0.5)
    return units


def _tail(levels: Sequence[float], quantiles: Floats) -> Floats:
    """Give the mean of the exponential tail (R,), above 0."""
    if len(levels) < 2:
        return np.full(len(quantiles), _LEAST_STEP)
    fall = np.log((1.0 - levels[-2]) / (1.0 - levels[-1]))
    return np.asarray(np.maximum((quantiles[:, -1] - quantiles[:, -2]) / fall, _LEAST_STEP))
