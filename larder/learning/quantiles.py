"""Quantiles of demand, learned from all pairs together, with their coverage put right afterwards.

In two steps, of gradient boosted trees (LightGBM; Ke et al. 2017, NeurIPS 30) with random
thresholds (extremely randomised trees; Geurts, Ernst and Wehenkel 2006, Machine Learning 63). The
first learns the mean, on the deviance of Tweedie (Jorgensen 1987, JRSS B 49), which tells far more
from a day than a quantile's loss does; the second the scatter around it, on the pinball loss of
Koenker and Bassett (1978, Econometrica 46). It learns from means of days that the first has not
seen (cross-fitting; Chernozhukov et al. 2018, Econometrics Journal 21), as it will be used, and
these days also say after how many trees to stop.

A day that sold out counts as the share of it with stock, units by that share (a Poisson rate with
exposure; McCullagh and Nelder, Generalized Linear Models, 1989, 6.2); for the scatter, what would
have been sold in its empty hours is drawn (`censoring.wanted_units`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

import lightgbm
import numpy as np

from larder.learning.censoring import Observed, blurred, wanted_units
from larder.learning.features import YEAR_DAYS, Features, Matrix
from larder.learning.frames import Bools, Floats, Ints
from larder.learning.sampling import drawn
from larder.learning.shrinkage import by_periods

QUANTILE_LEVELS: Final = (0.1, 0.25, 0.5, 0.75, 0.9)
MOST_ROUNDS: Final = 800
PATIENCE: Final = 60
SCATTER_ROUNDS: Final = 80
MOST_CELLS: Final = 250_000
SCATTER_CELLS: Final = 50_000
CLOSED_SHARE: Final = 0.1
FOLDS: Final = 4
FOLD_DAYS: Final = 28
CALIBRATED_SHARE: Final = 0.2
MOST_RATIO: Final = 8.0
LEAST_SCATTER: Final = 0.01
LEAST_MEAN: Final = 0.01
CODES: Final = ("weekday", "location", "item", "region", "kind", "category")
PARAMETERS: Final[dict[str, Any]] = {
    "extra_trees": True,
    "learning_rate": 0.05,
    "num_leaves": 31,
    "min_data_in_leaf": 60,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 20.0,
    "max_cat_threshold": 16,
    "cat_smooth": 50.0,
    # the same data and seed give the same bytes
    "deterministic": True,
    "force_row_wise": True,
    # trees of two threads wait for each other when anything else runs; two fits side by side do not
    "num_threads": 1,
    "verbose": -1,
}
SIDE_BY_SIDE: Final = 4
STEADY: Final = (
    "ratio_",
    "same_weekday_",
    "weekday",
    "log_level",
    "level_to_usual",
    "trend_90_days",
    "stocked_out_share",
    "available_share",
    "item_ratio_mean",
    "place_ratio_mean",
    "popularity",
)
SCATTER: Final = {"objective": "quantile", "learning_rate": 0.1, "num_leaves": 15}
MEAN: Final = {"objective": "tweedie", "tweedie_variance_power": 1.2}


Part = TypeVar("Part")
Fitted = TypeVar("Fitted")


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
        return np.asarray(_mean(self.mean, features.values) * features.level)

    def contributions(self, features: Features) -> Floats:
        """Return what each feature adds to the logarithm of units expected (S, K, F)."""
        rows = features.values.reshape(-1, features.values.shape[-1])
        booster = lightgbm.Booster(model_str=self.mean)
        found = np.asarray(booster.predict(rows, pred_contrib=True, num_threads=1))
        return found[:, :-1].reshape(features.values.shape)

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
        kept = scatter_names(features.names, observed.units.shape[1])
        training = _Training(features, observed, used, kept, seed)
        grown = training.grow(self.levels, most_rounds, scatter_rounds)
        return QuantileModel(
            self.levels, features.names, grown.mean, grown.scatter, kept, self.corrections
        )

    def predict(self, features: Features) -> Floats:
        """Return the quantiles of each pair and day (S, K, Q), ascending, from -0.5 units up.

        Whole units lie within half a unit around them; `whole_units` names the units.

        Raises:
            ValueError: the features are not those the trees were grown on.
        """
        expected = self.expected(features)
        scatter = _scatter(self.scatter, self.scatter_names, features, expected / features.level)
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
    kept = scatter_names(features.names, known.shape[1])

    def grow(used: Bools) -> _Grown:
        training = _Training(features, observed, used, kept, seed)
        return training.grow(levels, most_rounds, scatter_rounds)

    split = int(known.shape[1] * (1 - CALIBRATED_SHARE))
    before = some.copy()
    before[:, split:] = False
    corrections = [0.0] * len(levels)
    if before.any() and known[:, split:].any():
        earlier = grow(before)
        later = replace(
            features, values=features.values[:, split:], level=features.level[:, split:]
        )
        mean = _mean(earlier.mean, later.values)
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
        says = seen & expected_open(expected, features.level[:, split:])
        # weeks in a row may all be as odd as the first; months differ as those to come will
        days = units.shape[1]
        block = np.broadcast_to(np.arange(days) * max(days // FOLD_DAYS, 1) // days, units.shape)
        corrections = [
            _correction((wanted / expected - scatter)[says], block[says], level)
            for level, scatter in zip(
                levels, np.moveaxis(_scatter(earlier.scatter, kept, later, mean), 2, 0), strict=True
            )
        ]

    def model(mean: str, scatter: tuple[str, ...]) -> QuantileModel:
        return QuantileModel(tuple(levels), features.names, mean, scatter, kept, tuple(corrections))

    trees = grow(some)
    return QuantileFit(
        model(trees.mean, trees.scatter),
        {fold: model(mean, trees.scatter) for fold, mean in trees.folds.items()},
    )


def whole_units(quantiles: Floats) -> Floats:
    """Name the fewest whole units, at least 0, that demand does not exceed with that chance."""
    return np.asarray(np.maximum(np.ceil(quantiles - 0.5), 0.0))


def expected_open(expected: Floats, level: Floats) -> Bools:
    """Tell on which days coverage says something: not where next to nothing is expected.

    A day that is known to be closed lies within every quantile.
    """
    return np.asarray(expected >= CLOSED_SHARE * level)


@dataclass(frozen=True)
class _Grown:
    """Hold trees: of the mean, of each level, and of the mean without each fold."""

    mean: str
    scatter: tuple[str, ...]
    folds: Mapping[int, str]


class _Training:
    """Grow trees on some of the cells (S, K) of the days to learn from."""

    def __init__(
        self,
        features: Features,
        observed: Observed,
        used: Bools,
        scatter_names: tuple[str, ...],
        seed: int,
    ) -> None:
        self.level = features.level[used]
        rate = observed.rate
        self.rows = features.values[used]
        self.units, self.rate = observed.units[used], rate[used]
        self.part = observed.available[used]
        self.ratio = np.minimum(self.rate / self.level, MOST_RATIO)
        self.censored = observed.censored[used]
        self.weight = self._information(rate[used])
        self.available = observed.exposure[used]
        # whole blocks of days: neighbouring days know of each other
        day = np.broadcast_to(np.arange(used.shape[1])[None], used.shape)[used]
        self.fold = (day // FOLD_DAYS) % FOLDS
        self.names = list(features.names)
        self.scatter_names = scatter_names
        self.seed = seed

    def _information(self, rate: Floats) -> Floats:
        """Weigh each row by the inverse variance of its ratio, that of a negative binomial.

        Small series are mostly chance, large ones not: 1 / variance = level / (1 + phi * level),
        phi by moments (Cameron and Trivedi, Regression Analysis of Count Data, 2013, 3.3).
        """
        beyond = np.sum((rate - self.level) ** 2 - self.level) / np.sum(self.level**2)
        return np.asarray(self.level / (1.0 + max(float(beyond), LEAST_SCATTER) * self.level))

    def grow(self, levels: Sequence[float], most_rounds: int, scatter_rounds: int) -> _Grown:
        """Grow all trees."""
        unseen, rounds, folds = self._cross_fitted(most_rounds)
        rows = _scatter_rows(self.names, self.scatter_names, self.rows, unseen)
        expected = unseen * self.level
        wanted = wanted_units(self.units, self.part, self.censored, expected, self.seed)
        label = np.minimum(blurred(wanted, self.seed) / expected, MOST_RATIO)
        everything = np.ones(len(self.rows), dtype=np.bool_)
        weight, names = self.weight * unseen, [*self.scatter_names, "log_mean"]
        # the scatter is a matter of few features
        some = np.arange(len(rows))
        if len(rows) > SCATTER_CELLS:
            some = np.random.default_rng(self.seed).choice(some, SCATTER_CELLS, replace=False)

        # each with data of its own: LightGBM changes what it trains on
        def quantile(level: float) -> str:
            data = self._data(rows[some], label[some], weight[some], names)
            return self._train(SCATTER | {"alpha": level}, data, scatter_rounds)

        scatter = side_by_side(quantile, levels)
        mean = self._train(MEAN, self._mean_data(everything), rounds)
        return _Grown(mean, tuple(scatter), folds)

    def _cross_fitted(self, most_rounds: int) -> tuple[Floats, int, Mapping[int, str]]:
        """Predict each row by trees that have not seen its block; find how many trees help."""
        unseen = np.ones(len(self.rows))
        folds = np.unique(self.fold)
        if len(folds) == 1:
            return unseen, min(PATIENCE, most_rounds), {}

        def grow(fold: int) -> tuple[lightgbm.Booster, list[float]]:
            left_out = self.fold == fold
            data = self._mean_data(~left_out)
            losses: dict[str, dict[str, list[float]]] = {}
            grown = lightgbm.train(
                PARAMETERS | MEAN | {"seed": self.seed},
                data,
                most_rounds,
                valid_sets=[self._mean_data(left_out, data)],
                callbacks=[
                    lightgbm.early_stopping(PATIENCE, verbose=False),
                    lightgbm.record_evaluation(losses),
                ],
            )
            return grown, losses["valid_0"]["tweedie"]

        found = side_by_side(grow, folds.tolist())
        # one number for all blocks, for the next block may be like any of them; where one has
        # stopped, more trees had only made it worse
        loss = np.zeros(max(len(losses) for _, losses in found))
        for fold, (_, losses) in zip(folds, found, strict=True):
            share = (self.weight * self.available)[self.fold == fold].sum()
            loss += share * np.pad(losses, (0, len(loss) - len(losses)), mode="edge")
        rounds = int(np.argmin(loss)) + 1
        for fold, (grown, _) in zip(folds, found, strict=True):
            left_out = self.fold == fold
            mean = grown.predict(self.rows[left_out], num_iteration=rounds, num_threads=1)
            unseen[left_out] = np.maximum(mean, LEAST_MEAN)
        texts = {
            int(fold): str(grown.model_to_string(num_iteration=rounds))
            for fold, (grown, _) in zip(folds, found, strict=True)
        }
        return unseen, rounds, texts

    def _mean_data(self, used: Bools, like: lightgbm.Dataset | None = None) -> lightgbm.Dataset:
        weight = self.weight[used] * self.available[used]
        return self._data(self.rows[used], self.ratio[used], weight, self.names, like)

    def _data(
        self,
        rows: Matrix,
        label: Floats,
        weight: Floats,
        names: list[str],
        like: lightgbm.Dataset | None = None,
    ) -> lightgbm.Dataset:
        return lightgbm.Dataset(
            rows,
            label,
            reference=like,
            weight=weight / weight.mean(),
            feature_name=names,
            categorical_feature=[name for name in CODES if name in names],
            free_raw_data=False,
            params={"verbose": -1, "num_threads": 1},
        )

    def _train(self, objective: dict[str, Any], data: lightgbm.Dataset, rounds: int) -> str:
        grown = lightgbm.train(PARAMETERS | objective | {"seed": self.seed}, data, rounds)
        return str(grown.model_to_string())


def side_by_side(fit: Callable[[Part], Fitted], parts: Iterable[Part]) -> list[Fitted]:
    """Fit parts that do not need each other at once, a few at a time."""
    with ThreadPoolExecutor(SIDE_BY_SIDE) as workers:
        return list(workers.map(fit, parts))


def _mean(text: str, values: Matrix) -> Floats:
    """Predict the mean of units divided by the level; values (…, F)."""
    rows = values.reshape(-1, values.shape[-1])
    predicted = np.asarray(
        lightgbm.Booster(model_str=text).predict(rows, num_threads=1), dtype=np.float64
    )
    return np.maximum(predicted, LEAST_MEAN).reshape(values.shape[:-1])


def _scatter(texts: Sequence[str], kept: Sequence[str], features: Features, mean: Floats) -> Floats:
    """Predict the quantiles of units divided by the mean (S, K, Q)."""
    rows = features.values.reshape(-1, features.values.shape[-1])
    rows = _scatter_rows(features.names, kept, rows, mean.reshape(-1))
    predicted = side_by_side(
        lambda text: lightgbm.Booster(model_str=text).predict(rows, num_threads=1), texts
    )
    return np.stack(predicted, axis=1).reshape(*mean.shape, len(texts))


def scatter_names(names: Sequence[str], days: int) -> tuple[str, ...]:
    """Choose what scatter may depend on: in less than a year, only on how a pair has varied.

    A holiday or a promotion moves the mean at once. How demand scatters on such days would be
    learned from a handful of them, which were alike by chance, and be believed far too firmly.

    In a warehouse scores look back 180 days (`panel.HISTORY_DAYS`) and so never reach a year:
    only who brings series of their own does. The "ratio_" of `STEADY` takes in
    "ratio_at_the_same_holiday" and "ratio_52_weeks_ago" as well: in a warehouse both are unknown on
    every day, so no tree splits on them.

    Args:
        names: of all features. days: that are learned from.
    """
    return tuple(name for name in names if days >= YEAR_DAYS or name.startswith(STEADY))


def _scatter_rows(names: Sequence[str], kept: Sequence[str], rows: Matrix, mean: Floats) -> Matrix:
    """Take the columns that scatter depends on, and the logarithm of the mean (N, F')."""
    at = {name: number for number, name in enumerate(names)}
    chosen = rows[:, [at[name] for name in kept]]
    return np.column_stack([chosen, np.log(mean).astype(np.float32)])


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
