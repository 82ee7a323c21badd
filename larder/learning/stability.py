"""Whether what the forecasts go by is still spread as on the days that they learned from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from larder.learning.explanations import group_of
from larder.learning.features import Matrix, Surroundings, demand_features
from larder.learning.forecasts import observed_demand
from larder.learning.frames import Floats, Ints
from larder.learning.monitoring import MIN_OBSERVATIONS, WINDOW_DAYS, Signal
from larder.learning.panel import Panel
from larder.learning.sampling import drawn

THRESHOLD: Final = 0.25
MARGIN: Final = 2.0
# These go round with the year, or are somebody's plan.
NOT_WATCHED: Final = ("calendar", "holiday", "school", "promotion", "weather")
MOST_CELLS: Final = 60_000
FEATURE_BINS: Final = 10
_EDGE: Final = 1e-4


@dataclass(frozen=True)
class Reference:
    """Hold how F features were spread over the days that were learned from.

    `edges` of at most 10 bins each; `shares` of the days in each bin, last of those on which the
    feature was not known; `usual`, the largest index of any four of these weeks against all. Empty
    for a model that was registered before this was taken down.
    """

    names: tuple[str, ...] = ()
    edges: tuple[tuple[float, ...], ...] = ()
    shares: tuple[tuple[float, ...], ...] = ()
    usual: tuple[float, ...] = ()


def reference(panel: Panel, surroundings: Surroundings, first: int, seed: int = 0) -> Reference:
    """Take down how the features of the columns from `first` on are spread."""
    names, values, age = _seen(panel, surroundings, first, seed)
    edges = [
        np.unique(np.nanquantile(one, np.arange(1, FEATURE_BINS) / FEATURE_BINS))
        if np.isfinite(one).any()
        else np.zeros(0)
        for one in values.T
    ]
    shares = [_spread(one, bounds) for one, bounds in zip(values.T, edges, strict=True)]
    windows = [age // WINDOW_DAYS == n for n in range((panel.width - first) // WINDOW_DAYS)]
    # what was hardly open for four weeks would make any drift look usual
    windows = [window for window in windows if window.sum() >= MIN_OBSERVATIONS]
    usual = [
        max(
            (stability_index(expected, _spread(one[window], bounds)) for window in windows),
            default=0.0,
        )
        for one, bounds, expected in zip(values.T, edges, shares, strict=True)
    ]
    return Reference(
        names,
        tuple(tuple(float(edge) for edge in bounds) for bounds in edges),
        tuple(tuple(float(share) for share in expected) for expected in shares),
        tuple(usual),
    )


def stability(
    expected: Reference, panel: Panel, surroundings: Surroundings, seed: int = 0
) -> Iterator[Signal]:
    """Yield the index of each feature: the last four weeks of the panel against those learned from.

    The alarm rings above 0.25, the usual sign of a real shift, and above twice what any four weeks
    of the past differed from the rest: a season that was learned from is no drift.
    """
    names, values, _ = _seen(panel, surroundings, max(panel.width - WINDOW_DAYS, 0), seed)
    parts = zip(expected.names, expected.edges, expected.shares, expected.usual, strict=True)
    for name, edges, shares, usual in parts:
        threshold = max(THRESHOLD, MARGIN * usual)
        index = np.nan
        if len(values) >= MIN_OBSERVATIONS and name in names:
            found = _spread(values[:, names.index(name)], np.array(edges))
            index = stability_index(np.array(shares), found)
        yield Signal(f"psi_{name}", index, threshold, index > threshold, len(values))


def stability_index(expected: Floats, actual: Floats) -> float:
    """Compute the population stability index of shares (B,): Σ (actual - expected) · ln ratio.

    Shares are cut at 1e-4. Source: Siddiqi (2006), Credit Risk Scorecards.
    """
    was, is_now = np.maximum(expected, _EDGE), np.maximum(actual, _EDGE)
    return float(np.sum((is_now - was) * np.log(is_now / was)))


def _seen(
    panel: Panel, surroundings: Surroundings, first: int, seed: int
) -> tuple[tuple[str, ...], Matrix, Ints]:
    """Describe days (N,) with stock, at most 60,000: their features (N, F), and how long ago."""
    last = panel.width - 1
    features = demand_features(panel, surroundings, first, last)
    known = np.isfinite(observed_demand(panel, first, last).units)
    pair, day = np.nonzero(drawn(known, MOST_CELLS, seed))
    watched = [name for name in features.names if group_of(name) not in NOT_WATCHED]
    at = [features.names.index(name) for name in watched]
    return tuple(watched), features.values[pair, day][:, at], last - first - day


def _spread(values: Matrix, edges: Floats) -> Floats:
    """Count the share of values (N,) in each bin, and last of those that are not known."""
    bins = np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values, side="left"))
    return np.bincount(bins, minlength=len(edges) + 2) / max(len(values), 1)
