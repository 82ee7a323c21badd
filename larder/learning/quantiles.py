"""Quantiles of demand, learned from all pairs together, with their coverage put right afterwards.

Trees (`trees`) forecast the mean of a day and the scatter around it; how far off the quantiles that
follow are is measured on days that the trees have not seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from larder.learning.censoring import Observed, blurred, wanted_units
from larder.learning.features import Features
from larder.learning.frames import Bools, Floats, Ints
from larder.learning.sampling import drawn
from larder.learning.shrinkage import by_periods
from larder.learning.trees import (
    FOLD_DAYS,
    Trees,
    grow_trees,
    mean_contributions,
    predict_mean,
    predict_scatter,
)

QUANTILE_LEVELS: Final = (0.1, 0.25, 0.5, 0.75, 0.9)
MOST_ROUNDS: Final = 800
SCATTER_ROUNDS: Final = 80
MOST_CELLS: Final = 250_000
CLOSED_SHARE: Final = 0.1
CALIBRATED_SHARE: Final = 0.2


@dataclass(frozen=True)
class QuantileModel:
    """Hold the trees of the mean and of each level (LightGBM's own text), and the corrections.

    The mean is of units divided by the pair's level, the quantiles of units divided by that mean;
    `corrections`, one for each of `levels`, are added to these. `names` are the features that the
    trees of the mean were grown on, `scatter_names` those of the quantiles.
    """

    levels: tuple[float, ...]
    names: tuple[str, ...]
    mean: str
    scatter: tuple[str, ...]
    scatter_names: tuple[str, ...]
    corrections: tuple[float, ...]

    def expected(self, features: Features) -> Floats:
        """Return the units expected of each pair and day (S, K), above 0.

        Raises:
            ValueError: the features are not those the trees were grown on.
        """
        if features.names != self.names:
            raise ValueError("the features are not those that the model was trained on")
        return np.asarray(predict_mean(self.mean, features.values) * features.level)

    def contributions(self, features: Features) -> Floats:
        """Return what each feature adds to the logarithm of units expected (S, K, F)."""
        return mean_contributions(self.mean, features.values)

    def refit(
        self,
        features: Features,
        observed: Observed,
        *,
        seed: int = 0,
        most_rounds: int = MOST_ROUNDS,
        scatter_rounds: int = SCATTER_ROUNDS,
    ) -> QuantileModel:
        """Grow the trees anew from other days; the corrections stay. Arguments: `fit_quantiles`."""
        used = drawn(np.isfinite(observed.units), MOST_CELLS, seed)
        trees = grow_trees(features, observed, used, self.levels, most_rounds, scatter_rounds, seed)
        return replace(
            self,
            names=features.names,
            mean=trees.mean,
            scatter=trees.scatter,
            scatter_names=trees.scatter_names,
        )

    def predict(self, features: Features) -> Floats:
        """Return the quantiles of each pair and day (S, K, Q), ascending, from -0.5 units up.

        Whole units lie within half a unit around them; `whole_units` names the units.

        Raises:
            ValueError: the features are not those the trees were grown on.
        """
        expected = self.expected(features)
        scatter = predict_scatter(
            self.scatter, self.scatter_names, features, expected / features.level
        )
        # levels learned apart may cross; sorted they are never further from the truth
        # (Chernozhukov, Fernandez-Val and Galichon 2010, Econometrica 78)
        ordered = np.sort(scatter + np.asarray(self.corrections), axis=2)
        return np.asarray(np.maximum(ordered * expected[:, :, None], -0.5))


@dataclass(frozen=True)
class QuantileFit:
    """Hold a model of all days, and those that left blocks out, all with the same corrections.

    The means of `unseen` were learned without every fourth block of four weeks: the day k, counted
    from the first, was not seen by the model of (k // FOLD_DAYS) % FOLDS; there is none where there
    is only one block.
    """

    model: QuantileModel
    unseen: Mapping[int, QuantileModel]


def fit_quantiles(
    features: Features,
    observed: Observed,
    *,
    levels: Sequence[float] = QUANTILE_LEVELS,
    seed: int = 0,
    most_rounds: int = MOST_ROUNDS,
    scatter_rounds: int = SCATTER_ROUNDS,
) -> QuantileFit:
    """Learn the quantiles of the demand of S pairs from K days.

    A model of the earlier days tells, on the later fifth that it has not seen, how far each
    quantile is off (one-sided split-conformal; Romano, Patterson and Candes 2019, NeurIPS 32);
    then a model learns from all days. How far is believed by how alike the months of that fifth
    are, so not at all where it has only one. Of more than 250,000 cells so many are drawn.

    Args:
        features: of K days, in time order. observed: what was seen of the demand on them.
        levels: of the quantiles, ascending, in (0, 1). seed: of everything random.
        most_rounds: of trees of the mean, fewer where more did not help on days not seen.
        scatter_rounds: trees of each level.

    Raises:
        ValueError: no unit is known.
    """
    known = np.isfinite(observed.units)
    if not known.any():
        raise ValueError("there is no day to learn demand from")
    some = drawn(known, MOST_CELLS, seed)

    def grow(used: Bools) -> Trees:
        return grow_trees(features, observed, used, levels, most_rounds, scatter_rounds, seed)

    split = int(known.shape[1] * (1 - CALIBRATED_SHARE))
    before = some.copy()
    before[:, split:] = False
    corrections = [0.0] * len(levels)
    if before.any() and known[:, split:].any():
        corrections = _corrections(grow(before), features, observed, levels, split, seed)

    trees = grow(some)
    model = QuantileModel(
        tuple(levels),
        features.names,
        trees.mean,
        trees.scatter,
        trees.scatter_names,
        tuple(corrections),
    )
    return QuantileFit(
        model, {fold: replace(model, mean=mean) for fold, mean in trees.folds.items()}
    )


def whole_units(quantiles: Floats) -> Floats:
    """Name the fewest whole units, at least 0, that demand does not exceed with that chance."""
    return np.asarray(np.maximum(np.ceil(quantiles - 0.5), 0.0))


def expected_open(expected: Floats, level: Floats) -> Bools:
    """Tell on which days coverage says something: not where next to nothing is expected.

    A day that is known to be closed lies within every quantile.
    """
    return np.asarray(expected >= CLOSED_SHARE * level)


def _corrections(
    trees: Trees,
    features: Features,
    observed: Observed,
    levels: Sequence[float],
    split: int,
    seed: int,
) -> list[float]:
    """Measure what quantiles lack on the days from `split` on, which the trees have not seen."""
    later = replace(features, values=features.values[:, split:], level=features.level[:, split:])
    mean = predict_mean(trees.mean, later.values)
    expected = mean * later.level
    units = observed.units[:, split:]
    seen = np.isfinite(units)
    wanted = np.full(seen.shape, np.nan)
    wanted[seen] = blurred(
        wanted_units(
            units[seen],
            observed.available[:, split:][seen],
            observed.censored[:, split:][seen],
            expected[seen],
            seed,
        ),
        seed,
    )
    says = seen & expected_open(expected, later.level)
    # weeks in a row may all be as odd as the first; months differ as those to come will
    days = units.shape[1]
    block = np.broadcast_to(np.arange(days) * max(days // FOLD_DAYS, 1) // days, units.shape)
    scatter = predict_scatter(trees.scatter, trees.scatter_names, later, mean)
    return [
        _correction((wanted / expected - scatter[:, :, number])[says], block[says], level)
        for number, level in enumerate(levels)
    ]


def _correction(gaps: Floats, blocks: Ints, level: float) -> float:
    """Find what to add to a quantile of units divided by the mean for its share to lie below.

    Args:
        gaps: (N,) what was wanted less the quantile. blocks: (N,) of time. level: of the quantile.
    """
    if not len(gaps):
        return 0.0
    each = [_upper_quantile(gaps[blocks == block], level) for block in np.unique(blocks)]
    return by_periods(_upper_quantile(gaps, level), each)


def _upper_quantile(gaps: Floats, level: float) -> float:
    """Take the gap that a new one does not exceed with that chance (N of them, above 0)."""
    at = min(int(np.ceil((len(gaps) + 1) * level)), len(gaps)) - 1
    return float(np.partition(gaps, at)[at])
