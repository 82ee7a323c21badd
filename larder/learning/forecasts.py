"""Forecasts of demand for the days ahead: one model for all of them, told how far ahead each is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from larder.learning.censoring import Observed
from larder.learning.features import Features, Surroundings, demand_features
from larder.learning.frames import Floats
from larder.learning.panel import Panel
from larder.learning.quantiles import QuantileModel

AHEAD: Final = (1, 2, 3, 5, 7, 14, 30)
WARM_UP_DAYS: Final = 28


@dataclass(frozen=True)
class Forecast:
    """Hold what is expected of S pairs on K days, as known `ahead` days before each.

    `expected` (S, K) units; `quantiles` (S, K, Q) as `QuantileModel.predict` gives them.
    """

    levels: tuple[float, ...]
    expected: Floats
    quantiles: Floats


def steps_ahead(horizon: int) -> tuple[int, ...]:
    """Choose for how many days ahead features are made: a day between takes the next of them."""
    steps = [ahead for ahead in AHEAD if ahead < horizon]
    return (*steps, horizon)


def training_features(
    panel: Panel, surroundings: Surroundings, first: int, last: int, horizon: int, seed: int
) -> Features:
    """Describe days of the past (columns `first` to `last`), each as known some days before it.

    So many days that all distances up to the horizon are learned from, drawn for each day.
    """
    steps = steps_ahead(horizon)
    drawn = np.random.default_rng(seed).integers(0, len(steps), last - first + 1)
    mixed: Features | None = None
    for number, ahead in enumerate(steps):
        found = _told(demand_features(panel, surroundings, first, last, ahead), ahead)
        if mixed is None:
            mixed = found
        here = drawn == number
        mixed.values[:, here] = found.values[:, here]
        mixed.level[:, here] = found.level[:, here]
    if mixed is None:
        raise ValueError("a horizon has at least one day")
    return mixed


def days_ahead(
    model: QuantileModel, panel: Panel, surroundings: Surroundings, first: int, last: int, days: int
) -> Iterator[Forecast]:
    """Yield the forecasts made at the close of each of the columns `first` to `last`.

    The first is for the day after each, the second for the day after that, and so on: so many days.
    """
    steps = steps_ahead(days)
    described: dict[int, Features] = {}
    for day in range(1, days + 1):
        ahead = next(step for step in steps if step >= day)
        if ahead not in described:
            # from the first day that so many ahead are needed for, to the last
            nearest = max((step for step in steps if step < ahead), default=0) + 1
            described = {
                ahead: _told(
                    demand_features(panel, surroundings, first + nearest, last + ahead, ahead),
                    ahead,
                )
            }
            base = first + nearest
        features = described[ahead]
        here = slice(first + day - base, last + day - base + 1)
        part = replace(features, values=features.values[:, here], level=features.level[:, here])
        yield Forecast(model.levels, model.expected(part), model.predict(part))


def features_ahead(panel: Panel, surroundings: Surroundings, ahead: int) -> Features:
    """Describe the one day so many days after the panel's last (S, 1, F)."""
    day = panel.width - 1 + ahead
    return _told(demand_features(panel, surroundings, day, day, ahead), ahead)


def observed_demand(panel: Panel, first: int, last: int) -> Observed:
    """Take what was seen of the demand on the columns `first` to `last` of the panel."""
    days = panel.columns(first, last + 1)
    seen = days.observed & (days.available > 0)
    return Observed(
        units=np.where(seen, days.sold, np.nan),
        available=np.where(seen, days.available, 1.0),
        censored=days.stocked_out,
    )


def _told(features: Features, ahead: int) -> Features:
    """Add how many days ahead it is."""
    told = np.full((*features.values.shape[:2], 1), ahead, dtype=np.float32)
    return Features(
        (*features.names, "days_ahead"),
        np.concatenate([features.values, told], axis=2),
        features.level,
    )
