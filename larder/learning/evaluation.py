"""How good the scores are: forward in time, with an embargo, beside simple alternatives.

The last 28 days are tested in four blocks of a week (rolling origin, Tashman 2000). Each block is
scored by what was known at the close of the day `embargo` days before it: no later day, and no
label that looks into a later day, takes part in learning. The embargo is the longest shelf life.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
    baselines = {"global_rate": joined["global"], "pair_raw_rate": joined["raw"]}
    return list(waste_results(joined["model"], baselines, joined["outcome"]))


def waste_results(
    probability: Floats, baselines: Mapping[str, Floats], outcome: Floats
) -> Iterator[Result]:
    """Yield each metric of N probabilities beside that of each baseline on the same outcomes.

    `brier_skill` is measured against the first of the baselines.
    """
    reference = next(iter(baselines.values()))
    for name, baseline in baselines.items():
        pairs = {
            "brier": (brier(probability, outcome), brier(baseline, outcome)),
            "brier_skill": (
                brier_skill(probability, outcome, reference),
                brier_skill(baseline, outcome, reference),
            ),
            "log_loss": (log_loss(probability, outcome), log_loss(baseline, outcome)),
            "ece": (
                expected_calibration_error(probability, outcome),
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
    return list(order_results(joined, ("plain_weekday_quantile", "last_week_same_day")))


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
    average = weighted_quantile(pooled[0][rows], pooled[1][rows], ratio)
    answer = {
        "actual": panel.sold[rows, day],
        "underage": costs.underage[rows],
        "overage": costs.overage[rows],
        "order_average": np.where(ratio > 0, average, 0.0),
        **_alternative("model", demand.quantile, ratio),
        **_alternative(
            "plain_weekday_quantile", lambda level: weighted_quantile(*plain, level), ratio
        ),
        **_alternative("last_week_same_day", lambda _: windows.newest, ratio, always=True),
    }
    # paired: only where every alternative has something to go by
    kept: Bools = np.isfinite(windows.newest)
    return {name: values[kept] for name, values in answer.items()}


def _alternative(
    name: str,
    quantile: Callable[[Floats | float], Floats],
    ratio: Floats,
    *,
    always: bool = False,
) -> dict[str, Floats]:
    """Ask one way of forecasting for its order and its quantiles; nothing is ordered at ratio 0."""
    order = quantile(ratio)
    return {
        f"{name}_order": order if always else np.where(ratio > 0, order, 0.0),
        **{f"{name}_{metric}": quantile(level) for metric, level in LEVELS.items()},
    }


def order_results(seen: Mapping[str, Floats], baselines: Sequence[str]) -> Iterator[Result]:
    """Yield each metric of N orders and quantiles of demand beside that of each baseline.

    Args:
        seen: (N,) each: `actual` demand, `underage`, `overage`, `order_average` (the sample-average
            decision), and of `model` and each baseline `…_order` and the quantiles `…_pinball_p10`,
            `…_pinball_p50`, `…_pinball_p90`.
    """
    actual = seen["actual"]
    costs = Costs(seen["underage"], seen["overage"])
    # a pair whose price is unknown says nothing about money
    priced = costs.underage + costs.overage > 0
    paid = Costs(costs.underage[priced], costs.overage[priced])

    def cost(order: str) -> float:
        return decision_cost(seen[order][priced], actual[priced], paid) if priced.any() else 0.0

    for name in baselines:
        for metric, level in LEVELS.items():
            own, other = (
                pinball(seen[f"{one}_{metric}"], actual, level) for one in ("model", name)
            )
            yield Result(metric, own, name, other, len(actual))
        covered = (float(np.mean(actual <= seen[f"{one}_pinball_p90"])) for one in ("model", name))
        own, other = covered
        yield Result("coverage_p90", own, name, other, len(actual))
        if not priced.any():
            continue
        count, average = int(priced.sum()), cost("order_average")
        own, other = cost("model_order"), cost(f"{name}_order")
        yield Result("decision_cost", own, name, other, count)
        yield Result(
            "prescriptiveness",
            prescriptiveness(own, average),
            name,
            prescriptiveness(other, average),
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
