"""How good the scores are: forward in time, with an embargo, beside simple alternatives.

The last 28 days are tested in four blocks of a week (rolling origin, Tashman 2000). Each block is
scored by what was known at the close of the day `embargo` days before it: no later day, and no
label that looks into a later day, takes part in learning. The embargo is the longest shelf life.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from larder.learning.demand import demand_distributions, product_limit, weighted_quantile
from larder.learning.frames import Bools, Floats, Ints
from larder.learning.metrics import PINBALL_LEVELS, Result, order_results, waste_results
from larder.learning.orders import Costs
from larder.learning.panel import Panel
from larder.learning.waste import fit_waste_rates, held_outcomes, horizon_count

# Each week has its turn in four evaluations; what happens between them monitoring tells.
DAYS_BETWEEN = 7
BLOCKS = 4
BLOCK_DAYS = 7


def evaluate_waste(panel: Panel, shelf_life_days: Ints) -> list[Result]:
    """Score the waste probabilities of the last 28 days that have had time to come true.

    Baselines: `global_rate` (of all pairs, by horizon) and `pair_raw_rate` (the pair's own,
    unshrunk; the global rate without a day of its own). Empty with too little history.
    """
    collected: dict[str, list[Floats]] = {"model": [], "global": [], "raw": [], "outcome": []}
    pairs: list[Ints] = []
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
            pairs.append(row)
    if not sum(len(part) for part in collected["outcome"]):
        return []
    joined = {name: np.concatenate(parts) for name, parts in collected.items()}
    baselines = {"global_rate": joined["global"], "pair_raw_rate": joined["raw"]}
    return list(waste_results(joined["model"], baselines, joined["outcome"], np.concatenate(pairs)))


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
    pairs: list[Ints] = []
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
            rows, found = _day_forecasts(panel, train, day, np.flatnonzero(usable), costs, pooled)
            pairs.append(rows)
            parts.append(found)
    if not sum(len(part["actual"]) for part in parts):
        return []
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    baselines = ("plain_weekday_quantile", "last_week_same_day")
    return list(order_results(joined, np.concatenate(pairs), baselines))


def _day_forecasts(
    panel: Panel,
    train: Panel,
    day: int,
    rows: Ints,
    costs: Costs,
    pooled: tuple[Floats, Floats],
) -> tuple[Ints, Mapping[str, Floats]]:
    """Forecast a day of the pairs `rows` in every way; return the pairs that all ways know."""
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
    return rows[kept], {name: values[kept] for name, values in answer.items()}


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
        **{f"{name}_{metric}": quantile(level) for metric, level in PINBALL_LEVELS.items()},
    }


def _blocks(panel: Panel, shelf_life_days: Ints) -> Iterator[tuple[int, Panel]]:
    """Yield the first column of each tested week and what its scores may learn from."""
    embargo = horizon_count(shelf_life_days)
    for block in range(BLOCKS, 0, -1):
        start = panel.width - block * BLOCK_DAYS
        known = start - 1 - embargo
        # a week to learn from is the least that names every weekday
        if known >= BLOCK_DAYS - 1:
            yield start, panel.until(known)
