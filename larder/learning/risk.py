"""The risk that what is held ends as waste, learned on top of what lots and forecasts say.

A classifier (LightGBM) starts from the log-odds of `lots.waste_outlook` and learns only what they
miss: forecasts that err together for days, units that go missing, places that discard early. What
it says is calibrated by the map (none, sigmoid of Platt 1999, or isotonic of Zadrozny and Elkan
2002) that serves later days best, none of them surer than so many days and pairs allow, and the
units expected are set right by their ratio to what was wasted on these days.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import lightgbm
import numpy as np
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from larder.learning.features import Matrix
from larder.learning.frames import Bools, Floats, Ints
from larder.learning.metrics import squared_errors
from larder.learning.shrinkage import by_periods

ROUNDS: Final = 150
PATIENCE: Final = 20
LEAST_ROWS: Final = 500
CALIBRATORS: Final = ("none", "sigmoid", "isotonic")
PARAMETERS: Final[dict[str, Any]] = {
    "objective": "binary",
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_data_in_leaf": 200,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 20.0,
    "boost_from_average": False,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbose": -1,
}
_EDGE: Final = 1e-4


@dataclass(frozen=True)
class Calibration:
    """Map a log-odds to a probability: straight between the points, flat beyond them.

    `bounds` are the least and the most that is ever said (see `never_certain`).
    """

    name: str
    log_odds: tuple[float, ...]
    probability: tuple[float, ...]
    bounds: tuple[float, float] = (0.0, 1.0)

    def apply(self, log_odds: Floats) -> Floats:
        """Return probabilities of the same shape."""
        return np.asarray(np.clip(self._mapped(log_odds), *self.bounds))

    def _mapped(self, log_odds: Floats) -> Floats:
        if self.name == "none":
            return expit(log_odds)
        if self.name == "sigmoid":
            slope, shift = self.log_odds[0], self.probability[0]
            return expit(slope * log_odds + shift)
        return np.interp(log_odds, self.log_odds, self.probability)


@dataclass(frozen=True)
class RiskModel:
    """Hold the classifier's trees (LightGBM's own text), its calibration and the units' factor."""

    names: tuple[str, ...]
    trees: str
    calibration: Calibration
    units_factor: float

    def predict(self, rows: Matrix, outlook: Floats) -> Floats:
        """Return the calibrated probability (N,) of rows (N, F) whose outlook is given (N,)."""
        return self.calibration.apply(logit(outlook) + _learned(self.trees, rows))

    def contributions(self, rows: Matrix) -> Floats:
        """Return what each feature adds to the log-odds (N, F), the constant left out."""
        if not self.trees:
            return np.zeros(rows.shape)
        booster = lightgbm.Booster(model_str=self.trees)
        found = booster.predict(rows, pred_contrib=True, num_threads=1)
        return np.asarray(found, dtype=np.float64)[:, :-1]


def fit_risk(
    names: tuple[str, ...],
    rows: Matrix,
    outlook: Floats,
    expected_units: Floats,
    wasted_units: Floats,
    day: Ints,
    seed: int = 0,
) -> RiskModel:
    """Learn the risk from N scores of the past whose outcome is known.

    The earlier half of the days grows the trees, the third quarter stops them and fits the
    calibrations, the last quarter chooses: the outlook as it is, calibrated, or with the trees on
    top of it, whichever is simplest of those that serve as well as the best.

    Args:
        rows: (N, F) with `names`. outlook: (N,) probability from lots and forecasts.
        expected_units, wasted_units: (N,) expected from them, and what happened.
        day: (N,) of each score.
    """
    wasted = (wasted_units > 0).astype(np.float64)
    start = logit(outlook)
    cuts = np.quantile(day, [0.5, 0.75]) if len(day) else [0.0, 0.0]
    grows, stops = day < cuts[0], (day >= cuts[0]) & (day < cuts[1])
    chooses = day >= cuts[1]
    if min(grows.sum(), stops.sum(), chooses.sum()) < LEAST_ROWS or len(np.unique(wasted)) < 2:
        trees, calibration = "", Calibration("none", (), ())
    else:
        grown = _trees(names, rows, start, wasted, grows, stops, seed)
        choices = [(text, name) for text in ("", grown) for name in CALIBRATORS]
        raw = {text: start + _learned(text, rows) for text in ("", grown)}
        errors = [
            squared_errors(
                fit_calibration(name, raw[text][stops], wasted[stops]).apply(raw[text][chooses]),
                wasted[chooses],
            )
            for text, name in choices
        ]
        trees, best = choices[simplest(np.stack(errors), day[chooses])]
        later = stops | chooses
        calibration = replace(
            fit_calibration(best, raw[trees][later], wasted[later]),
            bounds=never_certain(len(np.unique(day[later])), _pairs(names, rows[later])),
        )
    # lots and forecasts have seen none of the days, the trees have no part in the units
    factor = units_factor(expected_units, wasted_units, day)
    return RiskModel(names, trees, calibration, factor)


def simplest(errors: Floats, day: Ints) -> int:
    """Choose among candidates, simplest first: the first that is as good as the best.

    That is, within one standard error of their difference (Breiman, Friedman, Olshen and Stone
    1984, Classification and Regression Trees, 3.4.3), days being what was drawn: the errors of one
    day go together.

    Args:
        errors: (C, N) of each candidate and case. day: (N,) of each case.
    """
    _, code = np.unique(day, return_inverse=True)
    days = int(code.max()) + 1
    best = errors[int(np.argmin(errors.mean(axis=1)))]
    for number, one in enumerate(errors):
        worse = np.bincount(code, one - best, days)
        if worse.sum() <= np.sqrt(days) * np.std(worse, ddof=min(days - 1, 1)):
            return number
    raise AssertionError("the best is no worse than itself")


def units_factor(expected: Floats, wasted: Floats, day: Ints) -> float:
    """Find what to multiply units expected by, for what was wasted to come out; (N,) each.

    Ten units are added to either side, so that a quiet place does not swing.
    """

    def excess(used: Bools) -> float:
        return (float(wasted[used].sum()) + 10.0) / (float(expected[used].sum()) + 10.0) - 1.0

    weeks = day // 7
    each = [excess(weeks == week) for week in np.unique(weeks)]
    return 1.0 + by_periods(excess(np.ones(len(day), dtype=np.bool_)), each)


def fit_calibration(name: str, log_odds: Floats, outcome: Floats) -> Calibration:
    """Fit one of `CALIBRATORS` to (N,) log-odds and what happened (0 or 1)."""
    if name == "none" or len(np.unique(outcome)) < 2:
        return Calibration("none", (), ())
    if name == "sigmoid":
        line = LogisticRegression(C=1e6).fit(log_odds[:, None], outcome)
        slope, shift = float(line.coef_[0, 0]), float(line.intercept_[0])
        if slope < 0:
            # more risk must not be said to be less: of the lines that do not fall, a flat one
            slope, shift = 0.0, float(logit(outcome.mean()))
        return Calibration(name, (slope,), (shift,))
    steps = IsotonicRegression(y_min=_EDGE, y_max=1 - _EDGE, out_of_bounds="clip")
    steps.fit(log_odds, outcome)
    return Calibration(
        name,
        tuple(float(one) for one in steps.X_thresholds_),
        tuple(float(one) for one in steps.y_thresholds_),
    )


def never_certain(days: int, pairs: int) -> tuple[float, float]:
    """Return the least and the most that may be said of a risk after so many days and pairs.

    What never failed in n trials fails in the next with 0.5 / (n + 1) (Krichevsky and Trofimov
    1981, IEEE Transactions on Information Theory 27). Rows are not trials: those of a day share its
    weather, holidays and crowds, those of a pair its horizons and lots. What saves stock that was
    as good as lost is a crowd, which all places may share, so days are counted; what is thrown away
    though it was not due is a matter of one shelf, so pairs are, if they are more.
    """
    return 0.5 / (max(days, pairs) + 1), (days + 0.5) / (days + 1)


def logit(probability: Floats) -> Floats:
    """Turn probabilities, cut at 1e-4, into log-odds."""
    sure = np.clip(probability, _EDGE, 1 - _EDGE)
    return np.asarray(np.log(sure) - np.log1p(-sure))


def expit(log_odds: Floats) -> Floats:
    """Turn log-odds into probabilities."""
    return np.asarray(np.exp(-np.logaddexp(0.0, -log_odds)))


def _pairs(names: tuple[str, ...], rows: Matrix) -> int:
    """Count the pairs among rows (N, F); 0 where no feature tells them apart."""
    codes = [names.index(name) for name in ("location", "item") if name in names]
    return len(np.unique(rows[:, codes], axis=0)) if codes else 0


def _learned(trees: str, rows: Matrix) -> Floats:
    """Return what trees, if there are some, add to the log-odds (N,)."""
    if not trees or not len(rows):
        return np.zeros(len(rows))
    booster = lightgbm.Booster(model_str=trees)
    return np.asarray(booster.predict(rows, raw_score=True, num_threads=1), dtype=np.float64)


def _trees(
    names: tuple[str, ...],
    rows: Matrix,
    start: Floats,
    wasted: Floats,
    grows: Bools,
    stops: Bools,
    seed: int,
) -> str:
    codes = [name for name in ("location", "item") if name in names]
    # one who keeps more must not be thought safer by chance of the sample
    rising = [1 if name == "horizon" else 0 for name in names]
    parameters = PARAMETERS | {"seed": seed, "monotone_constraints": rising}

    def data(used: Bools, like: lightgbm.Dataset | None = None) -> lightgbm.Dataset:
        return lightgbm.Dataset(
            rows[used],
            wasted[used],
            init_score=start[used],
            reference=like,
            feature_name=list(names),
            categorical_feature=codes,
            params={"verbose": -1, "num_threads": 1},
        )

    grown_on = data(grows)
    grown = lightgbm.train(
        parameters,
        grown_on,
        ROUNDS,
        valid_sets=[data(stops, grown_on)],
        callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
    )
    return str(grown.model_to_string(num_iteration=grown.best_iteration))
