"""Demand behind sales: what was wanted on days that sold out, and whole units made smooth.

A day that sold out counts as the share of it with stock, units by that share (a Poisson rate with
exposure; McCullagh and Nelder, Generalized Linear Models, 1989, 6.2). What its empty hours would
have sold is drawn: given the day's rate it does not depend on what was sold before (a Poisson
process; Kingman 1993), and that rate is drawn, too, as what was expected and what was sold while
there was stock leave it open (Gamma-Poisson; Gelman et al., Bayesian Data Analysis, 2.6). How far
rates scatter, and which share of a day's demand its hours bring, the days themselves tell
(`learn_arrivals`). Whole units are learned from with half a unit of noise to either side, so that
their quantiles vary smoothly (Machado and Santos Silva 2005, JASA 100): `quantiles.whole_units`
takes it off again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from larder.learning.features import LEAST_AVAILABLE
from larder.learning.frames import Bools, Floats

DAY_PARTS: Final = 16
EVEN_UNITS: Final = 50.0
ROUNDS: Final = 60
ROUNDS_BETWEEN: Final = 20
OVERDISPERSIONS: Final = np.geomspace(0.01, 5.0, 32)


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
    arrivals = learn_arrivals(units, available, censored, expected)
    prior = 1.0 / arrivals.overdispersion
    part = arrivals.share_within(available)
    rng = np.random.default_rng(seed)
    rate = expected * rng.gamma(units + prior) / (expected * part + prior)
    more = rng.poisson(np.where(censored, rate * (1.0 - part), 0.0))
    return np.asarray(units + more)


@dataclass(frozen=True)
class Arrivals:
    """Hold how demand comes about.

    `parts` (DAY_PARTS,) are the shares of a day's demand that equal parts of its opening hours
    bring; `overdispersion` is the squared variation of a day's rate around what was expected.
    """

    parts: Floats
    overdispersion: float

    def share_within(self, available: Floats) -> Floats:
        """Return the share of a day's demand that comes in that first share of its hours."""
        edges = np.concatenate([[0.0], np.cumsum(self.parts)])
        edges /= edges[-1]  # a day ends with exactly all of it
        return np.asarray(np.interp(available, np.linspace(0.0, 1.0, DAY_PARTS + 1), edges))


def learn_arrivals(units: Floats, available: Floats, censored: Bools, expected: Floats) -> Arrivals:
    """Learn from N days how demand comes, by maximum likelihood; arguments: `wanted_units`.

    A stock-out comes with a sale, and the more demand an hour brings, the more stock-outs it ends
    with: what was sold by then came before, as the hours before bring it, and the rest would have
    come after (expectation-maximization; Dempster, Laird and Rubin 1977, JRSS B 39). A stock-out
    stops the count, which changes no likelihood (Berger and Wolpert, The Likelihood Principle,
    1988): days that sold out, the best ones, tell how far rates scatter as the others do. Stock is
    taken to be there first and gone later; where few days sold out, hours are taken to be alike.
    """
    sold_out = censored & (units >= 1)
    sold, share, usual = units[sold_out], np.clip(available[sold_out], 0.0, 1.0), expected[sold_out]
    at = np.minimum((share * DAY_PARTS).astype(np.int64), DAY_PARTS - 1)
    last = np.bincount(at, minlength=DAY_PARTS)
    within = np.clip(share[:, None] * DAY_PARTS - np.arange(DAY_PARTS), 0.0, 1.0)
    found = Arrivals(np.full(DAY_PARTS, 1.0 / DAY_PARTS), 0.0)
    for number in range(ROUNDS):
        if number % ROUNDS_BETWEEN == 0:
            part = np.where(censored, found.share_within(available), 1.0)
            found = Arrivals(found.parts, _overdispersion(units, expected * part))
        before = within @ found.parts
        prior = 1.0 / found.overdispersion
        rate = usual * (sold + prior) / (usual * before + prior)
        earlier = (sold - 1.0) / np.maximum(before, 1e-9)
        came = last + found.parts * (earlier @ within + rate @ (1.0 - within))
        came += EVEN_UNITS / DAY_PARTS
        found = Arrivals(came / came.sum(), found.overdispersion)
    return found


def _overdispersion(units: Floats, expected: Floats) -> float:
    """Find how far rates scatter around what was expected: the likeliest squared variation.

    Source: the negative binomial likelihood of Lawless (1987, Canadian Journal of Statistics 15).
    """
    whole = np.rint(units).astype(np.int64)
    above = len(whole) - np.cumsum(np.bincount(whole))[:-1]  # days with more than 0, 1, … units
    shapes = 1.0 / OVERDISPERSIONS
    likelihood = [
        float(above @ np.log(shape + np.arange(len(above))))
        + len(whole) * shape * np.log(shape)
        - float(np.sum((whole + shape) * np.log(expected + shape)))
        for shape in shapes
    ]
    best = int(np.clip(np.argmax(likelihood), 1, len(shapes) - 2))
    # the top of the parabola through the best and its neighbours
    before, here, after = likelihood[best - 1 : best + 2]
    bend = before - 2.0 * here + after
    steps = np.clip((before - after) / (2.0 * bend), -1.0, 1.0) if bend < 0 else 0.0
    logarithm = np.interp(best + steps, np.arange(len(shapes)), np.log(OVERDISPERSIONS))
    return float(np.exp(logarithm))


def blurred(units: Floats, seed: int) -> Floats:
    """Add half a unit of noise to either side, where all units are whole."""
    if not np.array_equal(units, np.rint(units)):
        return units
    return np.asarray(units + np.random.default_rng(seed).random(units.shape) - 0.5)
