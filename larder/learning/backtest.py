"""Prove a plan on a past: the last days replayed under it, beside the deliveries that really came.

A model that has learned from the days before plans each delivery with only what was known at the
close before it was ordered. Both sides are replayed in the same way (`replay`), from the same
stock, on the same demand; on days that sold out, demand is drawn anew beyond what was sold, several
times, and the interval holds both what these draws and what the choice of places change.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from larder.learning.censoring import wanted_units
from larder.learning.features import Surroundings
from larder.learning.forecasts import days_ahead, observed_demand
from larder.learning.frames import Bools, Floats, Ints
from larder.learning.lots import expiring_units
from larder.learning.orders import Costs, plan_orders
from larder.learning.panel import Panel
from larder.learning.replay import (
    Outcome,
    Policy,
    Saving,
    mean_outcome,
    replay,
    saving_interval,
)
from larder.learning.scoring import left_to_orders
from larder.learning.training import Learned
from larder.learning.waste import MAX_HORIZON_DAYS

DRAWS: Final = 5
SAVING_CONFIDENCE: Final = 0.9
FOLLOWING_DAYS: Final = 14
SEED: Final = 0


@dataclass(frozen=True)
class Terms:
    """Hold what orders of S pairs must keep to.

    `delivers` (S, K + FOLLOWING_DAYS) tells whether a delivery can come on each replayed day and
    the two weeks after; `lead_days` (S,) are the closes before the delivery by which it is ordered,
    at least 1; `capacity` (S,) units that fit in the place, NaN for no limit.
    """

    costs: Costs
    shelf_life_days: Ints
    pack_size: Ints
    lead_days: Ints
    delivers: Bools
    capacity: Floats


@dataclass(frozen=True)
class ReplayedDays:
    """Hold what K replayed days of S pairs start from, and what was forecast for them.

    `first` is their first column of the panel; `lots` (S, A) are held before it, good for 1, 2, …
    A more days; `came` (S, K) are the units that were really delivered; `expected` (S, K) and
    `quantiles` (S, K, H, Q) were forecast for each day, and for the H days from it on, at the close
    before it.
    """

    panel: Panel
    terms: Terms
    first: int
    lots: Floats
    came: Floats
    levels: tuple[float, ...]
    expected: Floats
    quantiles: Floats

    def draw_demand(self, seed: int) -> Floats:
        """Draw the demand of each day (S, K): what was sold, more where it ran out."""
        seen = observed_demand(self.panel, self.first, self.panel.width - 1)
        known = np.isfinite(seen.units)
        units = np.zeros(known.shape)
        units[known] = wanted_units(
            seen.units[known],
            seen.available[known],
            seen.censored[known],
            self.expected[known],
            seed,
        )
        return units

    def as_it_was(self, wanted: Floats) -> Outcome:
        """Replay the deliveries that really came on some demand (S, K)."""
        return self._replay(wanted, lambda day, _: self.came[:, day])

    def with_plan(self, wanted: Floats, costs: Costs | None = None) -> Outcome:
        """Replay the plan on some demand (S, K), made for other costs if there are some."""
        terms = replace(self.terms, costs=costs or self.terms.costs)
        places = self.panel.location_codes
        return self._replay(wanted, PlannedDeliveries(self.levels, self.quantiles, places, terms))

    def _replay(self, wanted: Floats, policy: Policy) -> Outcome:
        always = np.ones(wanted.shape, dtype=np.bool_)
        return replay(wanted, self.lots, self.terms.shelf_life_days, always, policy)


def replayed_days(
    learned: Learned, panel: Panel, surroundings: Surroundings, terms: Terms, first: int
) -> ReplayedDays:
    """Prepare to replay the columns `first` to the last of the panel.

    The model must have learned from earlier columns only; the surroundings must be known for the
    days after the panel that its forecasts reach.
    """
    known = panel.columns(first, panel.width)
    start = expiring_units(panel, terms.shelf_life_days, int(terms.shelf_life_days.max()))
    horizon = int((terms.lead_days + _life(terms)).max()) - 1
    forecasts = list(
        days_ahead(learned.demand, panel, surroundings, first - 1, panel.width - 2, horizon)
    )
    return ReplayedDays(
        panel=panel,
        terms=terms,
        first=first,
        lots=np.diff(start[:, first - 1], axis=1, prepend=0.0),
        came=np.where(known.observed, known.restocked, 0.0),
        levels=learned.demand.levels,
        expected=forecasts[0].expected,
        quantiles=np.stack([one.quantiles for one in forecasts], axis=2),
    )


@dataclass(frozen=True)
class Backtest:
    """Hold what happened on both sides, and what the plan saves in US dollars, to 90 %.

    Units of the outcomes (S, K) are the mean of all draws of demand.
    """

    costs: Costs
    done: Outcome
    plan: Outcome
    saving: Saving

    @property
    def days(self) -> int:
        """The number of replayed days."""
        return int(self.done.sold.shape[1])

    def cost(self, outcome: Outcome) -> float:
        """Return waste and lost margin of all pairs and days in US dollars."""
        return float(outcome.cost(self.costs).sum()) * self.days


def backtest(replayed: ReplayedDays, wanted: Floats | None = None) -> Backtest:
    """Replay the days as they were and under the plan.

    Args:
        wanted: (S, K) units of demand, where it is known; else it is drawn several times.
    """
    demand = (
        [replayed.draw_demand(SEED + draw) for draw in range(DRAWS)] if wanted is None else [wanted]
    )
    costs = replayed.terms.costs
    done, plan = (
        [side(one) for one in demand] for side in (replayed.as_it_was, replayed.with_plan)
    )
    days = replayed.came.shape[1]
    saved = days * np.stack(
        [was.cost(costs) - new.cost(costs) for was, new in zip(done, plan, strict=True)]
    )
    saving = saving_interval(saved, replayed.panel.location_codes, SAVING_CONFIDENCE, seed=SEED)
    return Backtest(costs, mean_outcome(done), mean_outcome(plan), saving)


@dataclass
class PlannedDeliveries:
    """Plan each delivery by the forecasts of the day it is ordered on, from the replay's own stock.

    `quantiles` (S, K, H, Q): of the K replayed days and the H days from each on, as known at the
    close before. What is on its way when an order is made counts as held.
    """

    levels: tuple[float, ...]
    quantiles: Floats
    places: Ints
    terms: Terms
    coming: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.coming = np.zeros(self.terms.delivers.shape)

    def __call__(self, day: int, lots: Floats) -> Floats:
        """Order for the deliveries that are due to be ordered, and return what comes today (S,)."""
        rows = np.arange(len(lots))
        arrives = day + self.terms.lead_days - 1
        life = _life(self.terms)
        horizon = self.quantiles.shape[2]
        on_its_way = np.zeros(len(lots))
        for ahead in range(int(self.terms.lead_days.max()) - 1):
            on_its_way += np.where(day + ahead < arrives, self.coming[:, day + ahead], 0.0)
        held = lots.sum(axis=1) + on_its_way
        expiring = np.repeat(held[:, None], horizon, axis=1)
        known = np.cumsum(lots, axis=1)[:, :horizon]
        expiring[:, : known.shape[1]] = known
        # what is on its way lasts as long as anything
        expiring[:, min(lots.shape[1], horizon) - 1 :] = held[:, None]
        until_next, in_life, _ = left_to_orders(
            self.levels,
            self.quantiles[:, day],
            expiring,
            held,
            self.terms.lead_days,
            np.minimum(self._days_to_next(arrives), life),
            life,
            seed=day,
        )
        there = np.bincount(self.places, held)[self.places]
        plan = plan_orders(
            until_next,
            in_life,
            self.terms.costs,
            self.terms.pack_size,
            self.places,
            self.terms.capacity - there,
        )
        self.coming[rows, arrives] = np.where(self.terms.delivers[rows, arrives], plan.units, 0.0)
        return np.asarray(self.coming[:, day])

    def _days_to_next(self, arrives: Ints) -> Ints:
        """Count the days from a delivery to the one that can follow it, at most two weeks (S,)."""
        delivers = self.terms.delivers
        rows = np.arange(len(delivers))
        found = np.full(len(delivers), FOLLOWING_DAYS, dtype=np.int64)
        for days in range(FOLLOWING_DAYS - 1, 0, -1):
            at = arrives + days
            inside = at < delivers.shape[1]
            comes = inside & delivers[rows, np.minimum(at, delivers.shape[1] - 1)]
            found = np.where(comes, days, found)
        return found


def _life(terms: Terms) -> Ints:
    return np.minimum(terms.shelf_life_days, MAX_HORIZON_DAYS)
