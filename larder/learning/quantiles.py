"""Quantiles of demand, learned from all pairs together, with their coverage put right afterwards.

In two steps, of gradient boosted trees (LightGBM; Ke et al. 2017, NeurIPS 30) with random
thresholds (extremely randomised trees; Geurts, Ernst and Wehenkel 2006, Machine Learning 63). The
first learns the mean, on the deviance of Tweedie (Jorgensen 1987, JRSS B 49), which tells far more
from a day than a quantile's loss does; the second the scatter around it, on the pinball loss of
Koenker and Bassett (1978, Econometrica 46). It learns from means of days that the first has not
seen (cross-fitting; Chernozhukov et al. 2018, Econometrics Journal 21), as it will be used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import lightgbm
import numpy as np

from larder.learning.features import LEAST_LEVEL, Features, Matrix
from larder.learning.frames import Bools, Floats

LEVELS: Final = (0.1, 0.25, 0.5, 0.75, 0.9)
MEAN_ROUNDS: Final = 800
SCATTER_ROUNDS: Final = 200
FOLDS: Final = 4
FOLD_DAYS: Final = 28
CALIBRATED_SHARE: Final = 0.2
MOST_RATIO: Final = 8.0
MOST_WEIGHT: Final = 5.0
LEAST_MEAN: Final = 0.01
CODES: Final = ("weekday", "location", "item", "region", "location_kind")
PARAMETERS: Final[dict[str, Any]] = {
    "extra_trees": True,
    "learning_rate": 0.05,
    "num_leaves": 31,
    "min_data_in_leaf": 60,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "max_cat_threshold": 16,
    "cat_smooth": 50.0,
    # the same data and seed give the same bytes
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 2,
    "verbose": -1,
}
MEAN: Final = {"objective": "tweedie", "tweedie_variance_power": 1.2}


@dataclass(frozen=True)
class QuantileModel:
    """Hold the trees of the mean and of each level (LightGBM's own text), and the corrections.

    The mean is of units divided by the pair's level, the quantiles of units divided by that mean;
    `corrections`, one for each of `levels`, are added to these. `names` are the features that the
    trees were grown on.
    """

    levels: tuple[float, ...]
    names: tuple[str, ...]
    mean: str
    scatter: tuple[str, ...]
    corrections: tuple[float, ...]

    def expected(self, features: Features) -> Floats:
        """Return the units expected of each pair and day (S, K), above 0.

        Raises:
            ValueError: the features are not those the trees were grown on.
        """
        if features.names != self.names:
            raise ValueError("the features are not those that the model was trained on")
        return np.asarray(_mean(self.mean, features.values) * features.level)

    def predict(self, features: Features) -> Floats:
        """Return the quantiles of units of each pair and day (S, K, Q), ascending, at least 0.

        Raises:
            ValueError: the features are not those the trees were grown on.
        """
        expected = self.expected(features)
        scatter = _scatter(self.scatter, features.values, expected / features.level)
        # levels learned apart may cross; sorted they are never further from the truth
        # (Chernozhukov, Fernandez-Val and Galichon 2010, Econometrica 78)
        ordered = np.sort(np.maximum(scatter + np.asarray(self.corrections), 0.0), axis=2)
        return np.asarray(ordered * expected[:, :, None])


def fit_quantiles(
    features: Features,
    units: Floats,
    *,
    levels: Sequence[float] = LEVELS,
    seed: int = 0,
    mean_rounds: int = MEAN_ROUNDS,
    scatter_rounds: int = SCATTER_ROUNDS,
) -> QuantileModel:
    """Learn the quantiles of units from K days of S pairs.

    A model of the earlier days tells, on the later fifth that it has not seen, how far each
    quantile is off (one-sided split-conformal; Romano, Patterson and Candes 2019, NeurIPS 32);
    the model that is returned has learned from all days. Every pair weighs the same.

    Args:
        features: of K days, in time order. units: (S, K) units wanted, NaN where not known.
        levels: of the quantiles, ascending, in (0, 1). seed: of everything random.
        mean_rounds, scatter_rounds: trees of the mean, and of each level.

    Raises:
        ValueError: no unit is known.
    """
    known = np.isfinite(units)
    if not known.any():
        raise ValueError("there is no day to learn demand from")

    def grow(used: Bools) -> tuple[str, tuple[str, ...]]:
        return _Training(features, units, used, seed).grow(levels, mean_rounds, scatter_rounds)

    split = int(units.shape[1] * (1 - CALIBRATED_SHARE))
    earlier = known.copy()
    earlier[:, split:] = False
    corrections = [0.0] * len(levels)
    if earlier.any() and known[:, split:].any():
        trees = grow(earlier)
        later = features.values[:, split:]
        mean = _mean(trees[0], later)
        corrections = [
            _correction(scatter, mean * features.level[:, split:], units[:, split:], level)
            for level, scatter in zip(
                levels, np.moveaxis(_scatter(trees[1], later, mean), 2, 0), strict=True
            )
        ]
    mean_trees, scatter_trees = grow(known)
    return QuantileModel(
        levels=tuple(levels),
        names=features.names,
        mean=mean_trees,
        scatter=scatter_trees,
        corrections=tuple(corrections),
    )


def informative(quantile: Floats, units: Floats) -> Bools:
    """Tell on which days coverage says something: not where nothing was expected, and nothing came.

    A day that is known to be closed lies within every quantile.
    """
    return np.asarray(np.isfinite(units) & ((units > 0) | (quantile >= 0.5)))


class _Training:
    """Grow trees on some of the cells (S, K) of the days to learn from."""

    def __init__(self, features: Features, units: Floats, used: Bools, seed: int) -> None:
        level = features.level[used]
        mean = np.nansum(np.where(used, units, 0.0), axis=1) / np.maximum(used.sum(axis=1), 1)
        usual = np.maximum(np.broadcast_to(mean[:, None], used.shape)[used], LEAST_LEVEL)
        self.rows = features.values[used]
        self.ratio = np.minimum(units[used] / level, MOST_RATIO)
        self.weight = np.minimum(level / usual, MOST_WEIGHT)
        # whole blocks of days: neighbouring days know of each other
        day = np.broadcast_to(np.arange(used.shape[1])[None], used.shape)[used]
        self.fold = (day // FOLD_DAYS) % FOLDS
        self.names = list(features.names)
        self.seed = seed

    def grow(
        self, levels: Sequence[float], mean_rounds: int, scatter_rounds: int
    ) -> tuple[str, tuple[str, ...]]:
        """Grow the trees of the mean, and those of each level."""
        unseen = np.ones(len(self.rows))
        for fold in np.unique(self.fold):
            left_out = self.fold == fold
            if not left_out.all():
                text = self._mean_trees(~left_out, mean_rounds)
                unseen[left_out] = _mean(text, self.rows[left_out])
        rows = np.column_stack([self.rows, np.log(unseen).astype(np.float32)])
        label = np.minimum(self.ratio / unseen, MOST_RATIO)
        data = self._data(rows, label, self.weight * unseen, [*self.names, "log_mean"])
        return self._mean_trees(np.ones(len(self.rows), dtype=np.bool_), mean_rounds), tuple(
            self._train({"objective": "quantile", "alpha": level}, data, scatter_rounds)
            for level in levels
        )

    def _mean_trees(self, used: Bools, rounds: int) -> str:
        data = self._data(self.rows[used], self.ratio[used], self.weight[used], self.names)
        return self._train(MEAN, data, rounds)

    def _data(
        self, rows: Matrix, label: Floats, weight: Floats, names: list[str]
    ) -> lightgbm.Dataset:
        return lightgbm.Dataset(
            rows,
            label,
            weight=weight / weight.mean(),
            feature_name=names,
            categorical_feature=[name for name in CODES if name in names],
            free_raw_data=False,
            params={"verbose": -1},
        )

    def _train(self, objective: dict[str, Any], data: lightgbm.Dataset, rounds: int) -> str:
        grown = lightgbm.train(PARAMETERS | objective | {"seed": self.seed}, data, rounds)
        return str(grown.model_to_string())


def _mean(text: str, values: Matrix) -> Floats:
    """Predict the mean of units divided by the level; values (…, F)."""
    rows = values.reshape(-1, values.shape[-1])
    predicted = np.asarray(lightgbm.Booster(model_str=text).predict(rows), dtype=np.float64)
    return np.maximum(predicted, LEAST_MEAN).reshape(values.shape[:-1])


def _scatter(texts: Sequence[str], values: Matrix, mean: Floats) -> Floats:
    """Predict the quantiles of units divided by the mean (S, K, Q)."""
    rows = np.column_stack(
        [values.reshape(-1, values.shape[-1]), np.log(mean).astype(np.float32).reshape(-1)]
    )
    predicted = [lightgbm.Booster(model_str=text).predict(rows) for text in texts]
    return np.stack(predicted, axis=1).reshape(*mean.shape, len(texts))


def _correction(scatter: Floats, expected: Floats, units: Floats, level: float) -> float:
    """Find what to add to a quantile of units divided by the mean for its share to lie below."""
    seen = informative(scatter * expected, units)
    gaps = np.sort((units / expected - scatter)[seen])
    if not len(gaps):
        return 0.0
    return float(gaps[min(int(np.ceil((len(gaps) + 1) * level)), len(gaps)) - 1])
