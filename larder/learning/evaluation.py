"""How good the scores are: forward in time, with an embargo, beside simple alternatives.

The last 28 days are tested in four blocks of a week (rolling origin, Tashman 2000). Each block is
scored by what was known at the close of the day `embargo` days before it: no later day, and no
label that looks into a later day, takes part in learning. The embargo is the longest shelf life.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from larder.learning.demand import demand_distributions, product_limit, weighted_quantile
from larder.learning.frames import Bools, Floats, Ints
from larder.learning.orders import Costs
from larder.learning.panel import Panel
from larder.learning.waste import fit_waste_rates, held_outcomes, horizon_count

# Each week has its turn in four evaluations; what happens between them monitoring tells.
DAYS_BETWEEN = 7
BLOCKS = 4
BLOCK_DAYS = 7
BINS = 10
LEVELS = {"pinball_p10": 0.1, "pinball_p50": 0.5, "pinball_p90": 0.9}
_EDGE = 1e-6


@dataclass(frozen=True)
class Result:
    """Hold one metric beside the same metric of a baseline, on the same observations."""

    metric: str
    value: float
    baseline_name: str
    baseline_value: float
    observations: int


def brier(probability: Floats, outcome: Floats) -> float:
    """Compute the mean squared error of probabilities. Source: Brier (1950)."""
    return float(np.mean((probability - outcome) ** 2))


def brier_skill(probability: Floats, outcome: Floats, reference: Floats) -> float:
    """Compute 1 - Brier / Brier of the reference; 0 where the reference is perfect."""
    base = brier(reference, outcome)
    return 1.0 - brier(probability, outcome) / base if base > 0 else 0.0


def log_loss(probability: Floats, outcome: Floats) -> float:
    """Compute the mean negative log likelihood in nats; probabilities are cut at 1e-6."""
    sure = np.clip(probability, _EDGE, 1 - _EDGE)
    return float(-np.mean(outcome * np.log(sure) + (1 - outcome) * np.log1p(-sure)))


def expected_calibration_error(probability: Floats, outcome: Floats) -> float:
    """Compute the mass-weighted |mean outcome - mean probability| over 10 bins of equal mass.

    Equal probabilities share the bin of their middle rank, so row order does not matter. Source:
    Naeini, Cooper and Hauskrecht (2015), with equal-mass bins.
    """
    _, code, counts = np.unique(probability, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2
    bins = np.minimum((BINS * middle / len(probability)).astype(np.int64), BINS - 1)[code]
    gap = np.bincount(bins, outcome, BINS) - np.bincount(bins, probability, BINS)
    return float(np.abs(gap).sum() / len(probability))


def pinball(forecast: Floats, actual: Floats, level: float) -> float:
    """Compute the mean quantile loss, in units. Source: Koenker and Bassett (1978)."""
    gap = actual - forecast
    return float(np.mean(np.maximum(level * gap, (level - 1) * gap)))


def decision_cost(quantity: Floats, actual: Floats, costs: Costs) -> float:
    """Compute the mean newsvendor cost in US dollars a pair and day of having that quantity."""
    missed, left = np.maximum(actual - quantity, 0), np.maximum(quantity - actual, 0)
    return float(np.mean(costs.underage * missed + costs.overage * left))


def prescriptiveness(cost: float, sample_average_cost: float) -> float:
    """Compute 1 - cost / cost of the sample-average decision; 0 where that one is free.

    The perfect-foresight cost of the newsvendor is 0. Source: Bertsimas and Kallus (2020), eq. 12.
    """
    return 1.0 - cost / sample_average_cost if sample_average_cost > 0 else 0.0


def evaluate_waste(panel: Panel, shelf_life_days: Ints) -> list[Result]:
    """Score the waste probabilities of the last 28 days that have had time to come true.

    Baselines: `global_rate` (of all pairs, by horizon) and `pair_raw_rate` (the pair's own,
    unshrunk; the global rate without a day of its own). Empty with too little history.
    """
    collected: dict[str, list[Floats]] = {"model": [], "global": [], "raw": [], "outcome": []}
    for start, train in _blocks(panel, shelf_life_days):
        rates = fit_waste_rates(train, shelf_life_days)
        later = panel.columns(start, panel.width)
        for horizon, wasted, known in held_outcomes(later, horizon_count(shelf_life_days)):
            origins = min(BLOCK_DAYS, known.shape[1])
            tested = known[:, :origins] & (shelf_life_days >= horizon)[:, None]
            row, day = np.nonzero(tested)
            overall = np.full(len(row), rates.overall[horizon - 1])
            own = rates.own[row, horizon - 1]
            collected["model"].append(rates.probability[row, horizon - 1])
            collected["global"].append(overall)
            collected["raw"].append(np.where(np.isfinite(own), own, overall))
            collected["outcome"].append((wasted[row, day] > 0).astype(np.float64))
    if not sum(len(part) for part in collected["outcome"]):
        return []
    joined = {name: np.concatenate(parts) for name, parts in collected.items()}
    return list(_waste_results(**joined))


def _waste_results(model: Floats, **others: Floats) -> Iterator[Result]:
    overall, raw, outcome = others["global"], others["raw"], others["outcome"]
    for name, baseline in (("global_rate", overall), ("pair_raw_rate", raw)):
        pairs = {
            "brier": (brier(model, outcome), brier(baseline, outcome)),
            "brier_skill": (
                brier_skill(model, outcome, overall),
                brier_skill(baseline, outcome, overall),
            ),
            "log_loss": (log_loss(model, outcome), log_loss(baseline, outcome)),
            "ece": (
                expected_calibration_error(model, outcome),
                expected_calibration_error(baseline, outcome),
            ),
        }
        for metric, (value, baseline_value) in pairs.items():
            yield Result(metric, value, name, baseline_value, len(outcome))


def evaluate_orders(panel: Panel, shelf_life_days: Ints, costs: Costs) -> list[Result]:
    """Score demand quantiles, and the orders they lead to, on the last 28 days.

    Tested on days that did not sell out: only there is demand known. That favours whoever expects
    little, so the gain over an uncensored baseline is understated. Costs are of one day's demand
    against its quantile at the critical ratio, without packs or stock carried over.

    Baselines: `plain_weekday_quantile` (the last 8 same weekdays, sales taken for demand) and
    `last_week_same_day` (the newest known same weekday). Prescriptiveness compares each with the
    sample-average decision: the quantile of all the pair's days, whatever the weekday.
    """
    parts: list[Mapping[str, Floats]] = []
    for start, train in _blocks(panel, shelf_life_days):
        every = np.maximum(train.width - 56, 0)
        all_days = train.columns(every, train.width)
        pooled = product_limit(
            all_days.sold,
            np.zeros_like(all_days.stocked_out),
            all_days.observed.astype(np.float64),
        )
        for day in range(start, min(start + BLOCK_DAYS, panel.width)):
            usable = panel.observed[:, day] & ~panel.stocked_out[:, day]
            parts.append(_day_forecasts(panel, train, day, np.flatnonzero(usable), costs, pooled))
    if not sum(len(part["actual"]) for part in parts):
        return []
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return list(_order_results(joined))


def _day_forecasts(
    panel: Panel,
    train: Panel,
    day: int,
    rows: Ints,
    costs: Costs,
    pooled: tuple[Floats, Floats],
) -> Mapping[str, Floats]:
    ahead = np.full(len(rows), day - train.width + 1, dtype=np.int64)
    one = np.ones(len(rows), dtype=np.int64)
    demand, windows = demand_distributions(train, rows, panel.item_codes[rows], ahead, one)
    plain = product_limit(windows.units, np.zeros_like(windows.censored), windows.weight)
    ratio = costs.critical_ratio[rows]
    # paired: only where every alternative has something to go by
    kept: Bools = np.isfinite(windows.newest)
    answer = {
        "actual": panel.sold[rows, day],
        "last": windows.newest,
        "order_model": np.where(ratio > 0, demand.quantile(ratio), 0.0),
        "order_plain": np.where(ratio > 0, weighted_quantile(*plain, ratio), 0.0),
        "order_average": np.where(
            ratio > 0, weighted_quantile(pooled[0][rows], pooled[1][rows], ratio), 0.0
        ),
        "underage": costs.underage[rows],
        "overage": costs.overage[rows],
    }
    for metric, level in LEVELS.items():
        answer[f"model_{metric}"] = demand.quantile(level)
        answer[f"plain_{metric}"] = weighted_quantile(*plain, level)
    return {name: values[kept] for name, values in answer.items()}


def _order_results(seen: Mapping[str, Floats]) -> Iterator[Result]:
    actual, last = seen["actual"], seen["last"]
    costs = Costs(seen["underage"], seen["overage"])
    # a pair whose price is unknown says nothing about money
    priced = costs.underage + costs.overage > 0
    paid = Costs(costs.underage[priced], costs.overage[priced])
    average = (
        decision_cost(seen["order_average"][priced], actual[priced], paid) if priced.any() else 0.0
    )
    for name, is_plain in (("plain_weekday_quantile", True), ("last_week_same_day", False)):
        for metric, level in LEVELS.items():
            baseline = seen[f"plain_{metric}"] if is_plain else last
            yield Result(
                metric,
                pinball(seen[f"model_{metric}"], actual, level),
                name,
                pinball(baseline, actual, level),
                len(actual),
            )
        yield Result(
            "coverage_p90",
            float(np.mean(actual <= seen["model_pinball_p90"])),
            name,
            float(np.mean(actual <= (seen["plain_pinball_p90"] if is_plain else last))),
            len(actual),
        )
        if not priced.any():
            continue
        other = seen["order_plain"] if is_plain else last
        model_cost = decision_cost(seen["order_model"][priced], actual[priced], paid)
        other_cost = decision_cost(other[priced], actual[priced], paid)
        count = int(priced.sum())
        yield Result("decision_cost", model_cost, name, other_cost, count)
        yield Result(
            "prescriptiveness",
            prescriptiveness(model_cost, average),
            name,
            prescriptiveness(other_cost, average),
            count,
        )


def _blocks(panel: Panel, shelf_life_days: Ints) -> Iterator[tuple[int, Panel]]:
    """Yield the first column of each tested week and what its scores may learn from."""
    embargo = horizon_count(shelf_life_days)
    for block in range(BLOCKS, 0, -1):
        start = panel.width - block * BLOCK_DAYS
        known = start - 1 - embargo
        # a week to learn from is the least that names every weekday
        if known >= BLOCK_DAYS - 1:
            yield start, panel.until(known)
