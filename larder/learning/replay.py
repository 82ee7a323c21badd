"""Replay days under another way of ordering: what would have been sold, missed and wasted.

Stock is sold first in, first out, and what expires is wasted at the close of its last day. The
order of a day is delivered before its opening, and decided with the stock that the replay has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from larder.learning.frames import Floats, Ints
from larder.learning.orders import Costs

Policy = Callable[[int, Floats], Floats]


@dataclass(frozen=True)
class Outcome:
    """Hold what happened to S pairs on K days: units ordered, sold, missed and wasted (S, K)."""

    ordered: Floats
    sold: Floats
    missed: Floats
    wasted: Floats

    def days(self, some: slice) -> Outcome:
        """Return some of the days."""
        return Outcome(
            self.ordered[:, some], self.sold[:, some], self.missed[:, some], self.wasted[:, some]
        )

    def cost(self, costs: Costs) -> Floats:
        """Return waste and lost margin of each pair in US dollars a day (S,)."""
        days = self.sold.shape[1]
        lost = costs.underage * self.missed.sum(axis=1) + costs.overage * self.wasted.sum(axis=1)
        return np.asarray(lost / days)

    @property
    def fill_rate(self) -> float:
        """The share of what was wanted that was sold."""
        wanted = float(self.sold.sum() + self.missed.sum())
        return float(self.sold.sum()) / wanted if wanted else 1.0

    @property
    def waste_share(self) -> float:
        """The share of what was brought that was wasted."""
        brought = float(self.sold.sum() + self.wasted.sum())
        return float(self.wasted.sum()) / brought if brought else 0.0


def mean_outcome(outcomes: Sequence[Outcome]) -> Outcome:
    """Average the units of several outcomes of the same pairs and days."""
    names = ("ordered", "sold", "missed", "wasted")
    return Outcome(*(np.mean([getattr(one, name) for one in outcomes], axis=0) for name in names))


def replay(
    wanted: Floats, lots: Floats, shelf_life_days: Ints, delivers: np.ndarray, policy: Policy
) -> Outcome:
    """Replay K days of S pairs.

    Args:
        wanted: (S, K) units of demand. lots: (S, A) units held before the first day that are good
            for 1, 2, … A more days, A at least the longest shelf life.
        shelf_life_days: (S,). delivers: (S, K) whether a delivery can come that day.
        policy: units (S,) to deliver on a day (0 … K - 1), given the lots (S, A) held before it.
    """
    size, days = wanted.shape
    lots = lots.copy()
    results = {name: np.zeros((size, days)) for name in ("ordered", "sold", "missed", "wasted")}
    every = np.arange(size)
    for day in range(days):
        ordered = np.where(delivers[:, day], policy(day, lots), 0.0)
        lots[every, shelf_life_days - 1] += ordered
        reach = np.cumsum(lots, axis=1)
        sold = np.minimum(wanted[:, day], reach[:, -1])
        lots = np.diff(np.maximum(reach - sold[:, None], 0.0), axis=1, prepend=0.0)
        results["ordered"][:, day], results["sold"][:, day] = ordered, sold
        results["missed"][:, day] = wanted[:, day] - sold
        results["wasted"][:, day] = lots[:, 0]
        lots = np.concatenate([lots[:, 1:], np.zeros((size, 1))], axis=1)
    return Outcome(**results)


@dataclass(frozen=True)
class Saving:
    """Hold what was saved in all, an interval around it, and what was saved by place (G,)."""

    total: float
    low: float
    high: float
    by_place: Floats


def saving_interval(
    saved: Floats, places: Ints, share: float = 0.9, draws: int = 2000, seed: int = 0
) -> Saving:
    """Return the total saved, and an interval around it, by drawing places anew with replacement.

    Whole places are drawn (cluster bootstrap; Cameron, Gelbach and Miller 2008, Review of Economics
    and Statistics 90), for the pairs of a place share their days.

    Args:
        saved: (S,) of each pair; or (M, S), of M draws of what is not known, one of which each
            resample takes. places: (S,) codes 0 … G - 1. share: that the interval holds.
    """
    total = np.stack([np.bincount(places, one) for one in np.atleast_2d(saved)])
    rng = np.random.default_rng(seed)
    chosen = rng.integers(0, total.shape[1], (draws, total.shape[1]))
    drawn = total[rng.integers(0, len(total), draws)[:, None], chosen].sum(axis=1)
    low, high = np.quantile(drawn, [(1 - share) / 2, (1 + share) / 2])
    by_place = total.mean(axis=0)
    return Saving(float(by_place.sum()), float(low), float(high), by_place)
