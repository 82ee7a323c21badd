"""Demand behind sales: what was wanted on days that sold out, and whole units made smooth.

A day that sold out counts as the share of it with stock, units by that share (a Poisson rate with
exposure; McCullagh and Nelder, Generalized Linear Models, 1989, 6.2). What its empty hours would
have sold is drawn: given the day's rate it does not depend on what was sold before (a Poisson
process; Kingman 1993), and that rate is known from what was expected and from what was sold while
there was stock (Gamma-Poisson; Gelman et al., Bayesian Data Analysis, 2.6). Whole units are learned
from with half a unit of noise to either side, so that their quantiles vary smoothly (Machado and
Santos Silva 2005, JASA 100): `quantiles.whole_units` takes it off again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from larder.learning.features import LEAST_AVAILABLE
from larder.learning.frames import Bools, Floats

LEAST_OVERDISPERSION: Final = 0.01


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
    units: Floats, available: Floats, censored: Bools, expected: Floats, seed: int
) -> Floats:
    """Tell what was wanted on N days: what was sold, and a draw of what sold-out hours would have.

    Args:
        units, available, censored: (N,) as in `Observed`. expected: (N,) units, above 0. seed: of
            the draws.

    Returns:
        Units (N,): those sold where not censored, else these and a whole number more.
    """
    if not censored.any():
        return units
    prior = 1.0 / _overdispersion(units[~censored], expected[~censored])
    part = np.clip(available, 0.0, 1.0)
    rate = expected * (units + prior) / (expected * part + prior)
    more = np.random.default_rng(seed).poisson(np.where(censored, rate * (1.0 - part), 0.0))
    return np.asarray(units + more)


def _overdispersion(units: Floats, expected: Floats) -> float:
    """Estimate how far rates scatter around what was expected: their squared variation, by moments.

    Source: Cameron and Trivedi, Regression Analysis of Count Data, 2013, 3.3.
    """
    if not len(units):
        return LEAST_OVERDISPERSION
    beyond = float(np.sum((units - expected) ** 2 - expected) / np.sum(expected**2))
    return max(beyond, LEAST_OVERDISPERSION)


def blurred(units: Floats, seed: int) -> Floats:
    """Add half a unit of noise to either side, where all units are whole."""
    if not np.array_equal(units, np.rint(units)):
        return units
    return np.asarray(units + np.random.default_rng(seed).random(units.shape) - 0.5)
