"""Trees that forecast demand: of its mean, and of how it scatters around that.

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
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import lightgbm
import numpy as np

from larder.learning.censoring import Observed, blurred, wanted_units
from larder.learning.features import YEAR_DAYS, Features, Matrix
from larder.learning.frames import Bools, Floats

FOLDS: Final = 4
FOLD_DAYS: Final = 28
PATIENCE: Final = 60
SCATTER_CELLS: Final = 50_000
MOST_RATIO: Final = 8.0
LEAST_SCATTER: Final = 0.01
LEAST_MEAN: Final = 0.01
CATEGORICAL: Final = ("weekday", "location", "item", "region", "kind", "category")
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
class Trees:
    """Hold trees as LightGBM's own text: of the mean, of each level, of the mean without each fold.

    `scatter_names` are the features that those of the levels were grown on.
    """

    mean: str
    scatter: tuple[str, ...]
    scatter_names: tuple[str, ...]
    folds: Mapping[int, str]


def grow_trees(
    features: Features,
    observed: Observed,
    used: Bools,
    levels: Sequence[float],
    most_rounds: int,
    scatter_rounds: int,
    seed: int,
) -> Trees:
    """Grow trees on some cells of the days to learn from.

    Args:
        features: of S pairs and K days. observed: what was seen of the demand on them.
        used: (S, K) the cells. levels: of the quantiles.
        most_rounds: of trees of the mean, fewer where more did not help on days not seen.
        scatter_rounds: trees of each level. seed: of everything random.
    """
    return _Growing(features, observed, used, seed).grow(levels, most_rounds, scatter_rounds)


class _Growing:
    """Hold the cells (N,) to learn from, as rows, and grow trees on them."""

    def __init__(self, features: Features, observed: Observed, used: Bools, seed: int) -> None:
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
        self.scatter_names = scatter_names(features.names, used.shape[1])
        self.seed = seed

    def _information(self, rate: Floats) -> Floats:
        """Weigh each row by the inverse variance of its ratio, that of a negative binomial.

        Small series are mostly chance, large ones not: 1 / variance = level / (1 + phi * level),
        phi by moments (Cameron and Trivedi, Regression Analysis of Count Data, 2013, 3.3).
        """
        beyond = np.sum((rate - self.level) ** 2 - self.level) / np.sum(self.level**2)
        return np.asarray(self.level / (1.0 + max(float(beyond), LEAST_SCATTER) * self.level))

    def grow(self, levels: Sequence[float], most_rounds: int, scatter_rounds: int) -> Trees:
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
        return Trees(mean, tuple(scatter), self.scatter_names, folds)

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
            categorical_feature=[name for name in CATEGORICAL if name in names],
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


def predict_mean(text: str, values: Matrix) -> Floats:
    """Predict the mean of units divided by the level; values (…, F)."""
    rows = values.reshape(-1, values.shape[-1])
    predicted = np.asarray(
        lightgbm.Booster(model_str=text).predict(rows, num_threads=1), dtype=np.float64
    )
    return np.maximum(predicted, LEAST_MEAN).reshape(values.shape[:-1])


def mean_contributions(text: str, values: Matrix) -> Floats:
    """Return what each feature adds to the logarithm of the mean; values (…, F), as is returned."""
    rows = values.reshape(-1, values.shape[-1])
    booster = lightgbm.Booster(model_str=text)
    found = np.asarray(booster.predict(rows, pred_contrib=True, num_threads=1))
    return found[:, :-1].reshape(values.shape)


def predict_scatter(
    texts: Sequence[str], kept: Sequence[str], features: Features, mean: Floats
) -> Floats:
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
