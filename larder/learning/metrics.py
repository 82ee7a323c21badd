"""How good probabilities, quantiles and orders were, with intervals over the series they are of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from larder.learning.frames import Floats, Ints
from larder.learning.orders import Costs

PROBABILITY_BINS: Final = 10
PINBALL_LEVELS: Final = {"pinball_p10": 0.1, "pinball_p50": 0.5, "pinball_p90": 0.9}
RESAMPLES: Final = 500
INTERVAL_SHARE: Final = 0.9
_EDGE: Final = 1e-6


@dataclass(frozen=True)
class Result:
    """Hold one metric beside the same metric of a baseline, on the same observations.

    `value_low` and `value_high` hold the value, `difference_low` and `difference_high` value less
    baseline value, with 90 %; NaN where fewer than two series were seen.
    """

    metric: str
    value: float
    baseline_name: str
    baseline_value: float
    observations: int
    value_low: float = np.nan
    value_high: float = np.nan
    difference_low: float = np.nan
    difference_high: float = np.nan


class Resamples:
    """Add up values of N cases: all of them, and in samples of their series with replacement.

    What a series did on one day tells of its others, so whole series are drawn (cluster bootstrap;
    Cameron, Gelbach and Miller 2008, Review of Economics and Statistics 90).
    """

    def __init__(self, series: Ints, resamples: int = RESAMPLES, seed: int = 0) -> None:
        names, self.codes = np.unique(series, return_inverse=True)
        self.size = len(names)
        chosen = np.zeros((resamples, self.size))
        if self.size:
            even = np.full(self.size, 1 / self.size)
            chosen += np.random.default_rng(seed).multinomial(self.size, even, size=resamples)
        self.weights = np.concatenate([np.ones((1, self.size)), chosen])

    def sum(self, values: Floats) -> Floats:
        """Return sums (1 + resamples,) of the values (N,), that over all of them first."""
        return np.asarray(self.weights @ np.bincount(self.codes, values, self.size))

    def mean(self, values: Floats) -> Floats:
        """Return means as `sum` gives sums."""
        return np.asarray(self.sum(values) / self.sum(np.ones(len(values))))

    def interval(self, found: Floats, share: float = INTERVAL_SHARE) -> tuple[float, float]:
        """Give the bounds that hold `share` of what the resamples found; NaN below two series."""
        if self.size < 2:
            return np.nan, np.nan
        low, high = np.nanquantile(found[1:], [(1 - share) / 2, (1 + share) / 2])
        return float(low), float(high)

    def result(self, metric: str, own: Floats, name: str, other: Floats, count: int) -> Result:
        """Set a metric (1 + resamples,) beside that of a baseline."""
        low, high = self.interval(own)
        less, more = self.interval(own - other)
        return Result(metric, float(own[0]), name, float(other[0]), count, low, high, less, more)


def squared_errors(probability: Floats, outcome: Floats) -> Floats:
    """Return the squared error of each probability (N,)."""
    return np.asarray((probability - outcome) ** 2)


def brier(probability: Floats, outcome: Floats) -> float:
    """Compute the mean squared error of probabilities. Source: Brier (1950)."""
    return float(np.mean(squared_errors(probability, outcome)))


def brier_skill(probability: Floats, outcome: Floats, reference: Floats) -> float:
    """Compute 1 - Brier / Brier of the reference; 0 where the reference is perfect."""
    return skill_score(brier(probability, outcome), brier(reference, outcome))


def log_losses(probability: Floats, outcome: Floats) -> Floats:
    """Return the negative log likelihood of each outcome in nats; cut at a probability of 1e-6."""
    sure = np.clip(probability, _EDGE, 1 - _EDGE)
    return np.asarray(-outcome * np.log(sure) - (1 - outcome) * np.log1p(-sure))


def mass_bins(probability: Floats) -> Ints:
    """Put probabilities (N,) into 10 bins of equal mass, 0 to 9.

    Equal probabilities share the bin of their middle rank, so row order does not matter.
    """
    _, code, counts = np.unique(probability, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2
    return np.minimum(
        (PROBABILITY_BINS * middle / len(probability)).astype(np.int64), PROBABILITY_BINS - 1
    )[code]


def expected_calibration_error(probability: Floats, outcome: Floats) -> float:
    """Compute the mass-weighted |mean outcome - mean probability| over 10 bins of equal mass.

    Source: Naeini, Cooper and Hauskrecht (2015), with equal-mass bins.
    """
    everything = Resamples(np.zeros(len(outcome), dtype=np.int64), resamples=0)
    return float(calibration_errors(probability, outcome, everything)[0])


def calibration_errors(probability: Floats, outcome: Floats, resamples: Resamples) -> Floats:
    """Return `expected_calibration_error` of all and of each resample, in the bins of all."""
    bins = mass_bins(probability)
    gaps = [
        np.abs(resamples.sum(np.where(bins == number, outcome - probability, 0.0)))
        for number in range(PROBABILITY_BINS)
    ]
    return np.asarray(np.sum(gaps, axis=0) / resamples.sum(np.ones(len(outcome))))


@dataclass(frozen=True)
class Reliability:
    """Hold bins of probabilities of equal mass (B,): what was said, and how often it happened.

    `low` and `high` hold the latter with 90 %, by the series that the cases are of.
    """

    said: Floats
    happened: Floats
    low: Floats
    high: Floats
    cases: Ints


def reliability(probability: Floats, outcome: Floats, series: Ints) -> Reliability:
    """Set probabilities (N,) beside what happened, in at most 10 bins.

    Source: the reliability diagram (Murphy and Winkler 1977, Applied Statistics 26).
    """
    resamples, bins = Resamples(series), mass_bins(probability)
    rows: list[tuple[float, float, float, float, int]] = []
    for number in np.unique(bins):
        here = bins == number
        with np.errstate(invalid="ignore"):  # a resample may have none of a bin
            shares = resamples.sum(here * outcome) / resamples.sum(here.astype(np.float64))
        low, high = resamples.interval(shares)
        rows.append((float(probability[here].mean()), float(shares[0]), low, high, int(here.sum())))
    said, happened, lows, highs, cases = (np.array(column) for column in zip(*rows, strict=True))
    return Reliability(said, happened, lows, highs, cases)


def quantile_losses(forecast: Floats, actual: Floats, level: float) -> Floats:
    """Return the quantile loss of each forecast, in units. Source: Koenker and Bassett (1978)."""
    gap = actual - forecast
    return np.maximum(level * gap, (level - 1) * gap)


def pinball(forecast: Floats, actual: Floats, level: float) -> float:
    """Compute the mean quantile loss, in units."""
    return float(np.mean(quantile_losses(forecast, actual, level)))


def newsvendor_costs(quantity: Floats, actual: Floats, costs: Costs) -> Floats:
    """Return what having each quantity cost against the demand of one day, US dollars."""
    missed, left = np.maximum(actual - quantity, 0), np.maximum(quantity - actual, 0)
    return np.asarray(costs.underage * missed + costs.overage * left)


def decision_cost(quantity: Floats, actual: Floats, costs: Costs) -> float:
    """Compute the mean newsvendor cost in US dollars a pair and day of having that quantity."""
    return float(np.mean(newsvendor_costs(quantity, actual, costs)))


def skill_score(cost: float, reference: float) -> float:
    """Compute 1 - cost / reference, 0 where that is free: a skill, or the prescriptiveness.

    The latter is the share of the sample-average decision's cost that a decision saves; the cost
    with perfect foresight of the newsvendor is 0. Source: Bertsimas and Kallus (2020), eq. 12.
    """
    return float(_skill_scores(np.array([cost]), np.array([reference]))[0])


def _skill_scores(cost: Floats, reference: Floats) -> Floats:
    paid = reference > 0
    return np.asarray(1.0 - np.divide(cost, reference, out=np.ones(len(cost)), where=paid))


def waste_results(
    probability: Floats, baselines: Mapping[str, Floats], outcome: Floats, series: Ints
) -> Iterator[Result]:
    """Yield each metric of N probabilities beside that of each baseline on the same outcomes.

    `brier_skill` is measured against the first of the baselines; `series` (N,) is what each is of.
    """
    resamples = Resamples(series)
    reference = resamples.mean(squared_errors(next(iter(baselines.values())), outcome))

    def measures(chance: Floats) -> dict[str, Floats]:
        score = resamples.mean(squared_errors(chance, outcome))
        return {
            "brier": score,
            "brier_skill": _skill_scores(score, reference),
            "log_loss": resamples.mean(log_losses(chance, outcome)),
            "ece": calibration_errors(chance, outcome, resamples),
        }

    own = measures(probability)
    for name, baseline in baselines.items():
        for metric, other in measures(baseline).items():
            yield resamples.result(metric, own[metric], name, other, len(outcome))


def order_results(
    seen: Mapping[str, Floats], series: Ints, baselines: Sequence[str]
) -> Iterator[Result]:
    """Yield each metric of N orders and quantiles of demand beside that of each baseline.

    Args:
        seen: (N,) each: `actual` demand, `underage`, `overage`, `order_average` (the sample-average
            decision), and of `model` and each baseline `…_order` and the quantiles `…_pinball_p10`,
            `…_pinball_p50`, `…_pinball_p90`.
        series: (N,) what each is of.
    """
    actual = seen["actual"]
    # a pair whose price is unknown says nothing about money
    priced = seen["underage"] + seen["overage"] > 0
    costs = Costs(seen["underage"][priced], seen["overage"][priced])
    of_all, of_priced = Resamples(series), Resamples(series[priced])

    def cost(one: str) -> Floats:
        return of_priced.mean(newsvendor_costs(seen[one][priced], actual[priced], costs))

    def measures(one: str) -> dict[str, Floats]:
        within = (actual <= seen[f"{one}_pinball_p90"]).astype(np.float64)
        found = {
            metric: of_all.mean(quantile_losses(seen[f"{one}_{metric}"], actual, level))
            for metric, level in PINBALL_LEVELS.items()
        } | {"coverage_p90": of_all.mean(within)}
        if priced.any():
            paid = cost(f"{one}_order")
            found["decision_cost"] = paid
            found["prescriptiveness"] = _skill_scores(paid, cost("order_average"))
        return found

    own = measures("model")
    for name in baselines:
        for metric, other in measures(name).items():
            money = metric in ("decision_cost", "prescriptiveness")
            used, count = (of_priced, int(priced.sum())) if money else (of_all, len(actual))
            yield used.result(metric, own[metric], name, other, count)
