"""Demand behind sales: what was wanted on days that sold out, and whole units made smooth.

A day that sold out counts as the share of it with stock, units by that share (a Poisson rate with
exposure; McCullagh and Nelder, Generalized Linear Models, 1989, 6.2); for the scatter, its units
are a lower bound, and what it may have been is drawn from like days beyond it (redistribution to
the right; Efron 1967, Berkeley Symposium 5; Portnoy 2003, JASA 98). Whole units are learned
from with half a unit of noise to either side, so that their quantiles vary smoothly (Machado and
Santos Silva 2005, JASA 100): `quantiles.whole_units` takes it off again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from larder.learning.demand import product_limit
from larder.learning.features import LEAST_AVAILABLE
from larder.learning.frames import Bools, Floats

GROUPS: Final = 20
GROUP_DAYS: Final = 200


@dataclass(frozen=True)
class Observed:
    """Hold what was seen of the demand of S pairs on K days.

    `units` (S, K) are those sold, NaN where not known; `available` (S, K) the share of the day with
    stock, above 0 where units are known; where `censored` (S, K), units are only a lower bound.
    """

    units: Floats
    available: Floats
    censored: Bools

    @classmethod
    def whole(cls, units: Floats) -> Observed:
        """Take units for demand: there was stock all the time."""
        return cls(units, np.ones(units.shape), np.zeros(units.shape, dtype=np.bool_))

    @property
    def rate(self) -> Floats:
        """Units that would have been sold on a whole day (S, K)."""
        return np.asarray(self.units / self.exposure)

    @property
    def exposure(self) -> Floats:
        """The share of the day that units are divided by (S, K): a moment says too little."""
        return np.maximum(self.available, LEAST_AVAILABLE)


def wanted_units(
    units: Floats, rate: Floats, censored: Bools, expected: Floats, seed: int
) -> Floats:
    """Tell what was wanted on N days: what was sold, drawn beyond it where stock ran out.

    Args:
        units, rate, censored: (N,) as in `Observed`. expected: (N,) units. seed: of the draws.

    Returns:
        Units (N,), with noise of half a unit to either side if all that were sold are whole.
    """
    like = redistributed(units / expected, rate / expected, censored, expected, seed)
    drawn = like * expected
    if np.array_equal(units, np.rint(units)):
        drawn = np.rint(drawn)
    return blurred(drawn, seed)


def redistributed(
    bound: Floats, guess: Floats, censored: Bools, expected: Floats, seed: int
) -> Floats:
    """Draw what censored demand may have been from days on which as much was expected.

    Args:
        bound: (N,) demand seen, divided by what was expected; a lower bound where `censored`.
        guess: (N,) taken where no like day says what lies beyond the bound.
        censored: (N,). expected: (N,) units, by which days are grouped. seed: of the draws.

    Returns:
        Demand divided by what was expected (N,): unchanged where not censored, else not below
        its bound.
    """
    if not censored.any():
        return bound
    draws = np.random.default_rng(seed).random(len(bound))
    order = np.argsort(expected, kind="stable")
    wanted = bound.copy()
    for group in np.array_split(order, max(1, min(GROUPS, len(bound) // GROUP_DAYS))):
        units, mass = product_limit(
            bound[group][None], censored[group][None], np.ones((1, len(group)))
        )
        below = np.cumsum(mass[0])
        cut = group[censored[group]]
        # as likely as any demand beyond the bound
        before = np.concatenate([[0.0], below])[np.searchsorted(units[0], bound[cut], side="right")]
        at = np.searchsorted(below, before + draws[cut] * (1.0 - before))
        found = units[0][np.minimum(at, len(below) - 1)]
        beyond = before < below[np.searchsorted(units[0], units[0][-1])] - 1e-9
        wanted[cut] = np.maximum(np.where(beyond, found, guess[cut]), bound[cut])
    return wanted


def blurred(units: Floats, seed: int) -> Floats:
    """Add half a unit of noise to either side, where all units are whole."""
    if not np.array_equal(units, np.rint(units)):
        return units
    return np.asarray(units + np.random.default_rng(seed).random(units.shape) - 0.5)
