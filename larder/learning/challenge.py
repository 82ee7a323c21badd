"""Test a model on the last weeks, which it has not seen, beside the simple scores on the same days.

A model that is trained in the same way up to the embargo before the block stands for the new one,
which learns from the block, too. The champion is tested as it serves; if it has seen some of the
block, that speaks for it and against the new one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from larder.learning.demand import demand_distributions, product_limit, weighted_quantile
from larder.learning.distribution import inverse
from larder.learning.evaluation import BLOCK_DAYS, BLOCKS
from larder.learning.features import Surroundings
from larder.learning.forecasts import days_ahead
from larder.learning.frames import Floats, Ints
from larder.learning.metrics import PINBALL_LEVELS, Result, order_results, waste_results
from larder.learning.orders import MODEL_NAME as SIMPLE_ORDERS
from larder.learning.orders import Costs
from larder.learning.outlook import outlook
from larder.learning.panel import Panel
from larder.learning.quantiles import whole_units
from larder.learning.training import Learned, outcomes
from larder.learning.waste import MODEL_NAME as SIMPLE_RISK
from larder.learning.waste import fit_waste_rates, horizon_count

TESTED_DAYS = BLOCKS * BLOCK_DAYS


def known_before(panel: Panel, shelf_life_days: Ints) -> int:
    """Return the last column that a model may learn from, to be tested on the last four weeks."""
    return panel.width - TESTED_DAYS - 1 - horizon_count(shelf_life_days)


@dataclass(frozen=True)
class RipeRisks:
    """Hold N risks whose time is over, and whether waste came of them.

    `probability` (N,) was said, by each of the `baselines` (N,) as well; `happened` (N,) is 0 or 1;
    `pair` (N,) and `column` (N,) of the panel tell of what, and at which close.
    """

    probability: Floats
    baselines: Mapping[str, Floats]
    happened: Floats
    pair: Ints
    column: Ints


def ripe_risks(
    learned: Learned,
    panel: Panel,
    surroundings: Surroundings,
    shelf_life_days: Ints,
    first: int,
    known: int,
) -> RipeRisks:
    """Score the closes before the columns `first` to the last, as far as they have come true.

    Baselines: the rate of all pairs, and the shrunk rate of the simple model, both by what was
    known at the close of the column `known`.
    """
    horizon = horizon_count(shelf_life_days)
    held = outlook(
        learned.demand, panel, surroundings, shelf_life_days, first - 1, panel.width - 2, horizon
    )
    probability, _ = held.risks(learned.risk)
    wasted, ripe = outcomes(held, panel, shelf_life_days)
    rates = fit_waste_rates(panel.until(known), shelf_life_days)
    return RipeRisks(
        probability[ripe],
        {
            "global_rate": np.broadcast_to(rates.overall, ripe.shape)[ripe],
            SIMPLE_RISK: rates.probability[held.pair][ripe],
        },
        (wasted[ripe] > 0).astype(np.float64),
        *(np.broadcast_to(one[:, None], ripe.shape)[ripe] for one in (held.pair, held.column)),
    )


def risk_results(
    learned: Learned, panel: Panel, surroundings: Surroundings, shelf_life_days: Ints
) -> list[Result]:
    """Score the risks of the last four weeks that have had time to come true."""
    known = known_before(panel, shelf_life_days)
    first = panel.width - TESTED_DAYS
    ripe = ripe_risks(learned, panel, surroundings, shelf_life_days, first, known)
    if not len(ripe.happened):
        return []
    return list(waste_results(ripe.probability, ripe.baselines, ripe.happened, ripe.pair))


def demand_results(
    learned: Learned, panel: Panel, surroundings: Surroundings, costs: Costs
) -> list[Result]:
    """Score the demand quantiles of each of the last 28 days, as known the day before.

    As `evaluation.evaluate_orders`: on days that did not sell out, a day's demand against its
    quantile. Baselines: the quantile of the simple model by the same knowledge, and the newest same
    weekday.
    """
    first = panel.width - TESTED_DAYS
    forecast = next(days_ahead(learned.demand, panel, surroundings, first - 1, panel.width - 2, 1))
    parts: list[dict[str, Floats]] = []
    pairs: list[Ints] = []
    for number, day in enumerate(range(first, panel.width)):
        rows = np.flatnonzero(panel.observed[:, day] & ~panel.stocked_out[:, day])
        one = np.ones(len(rows), dtype=np.int64)
        known = panel.until(day - 1)
        demand, windows = demand_distributions(known, rows, panel.item_codes[rows], one, one)
        ratio = costs.critical_ratio[rows]
        usual = known.columns(max(0, day - 56), day)
        pooled = product_limit(
            usual.sold[rows],
            np.zeros_like(usual.stocked_out[rows]),
            usual.observed[rows].astype(np.float64),
        )
        quantiles = forecast.quantiles[rows, number]

        def units_at(chance: Floats, quantiles: Floats = quantiles) -> Floats:
            return whole_units(inverse(forecast.levels, quantiles, chance[:, None])[:, 0])

        part = {
            "actual": panel.sold[rows, day],
            "underage": costs.underage[rows],
            "overage": costs.overage[rows],
            "order_average": weighted_quantile(*pooled, ratio),
            "model_order": units_at(ratio),
            f"{SIMPLE_ORDERS}_order": demand.quantile(ratio),
            "last_week_same_day_order": windows.newest,
        }
        for metric, level in PINBALL_LEVELS.items():
            part[f"model_{metric}"] = units_at(np.full(len(rows), level))
            part[f"{SIMPLE_ORDERS}_{metric}"] = demand.quantile(level)
            part[f"last_week_same_day_{metric}"] = windows.newest
        kept = np.isfinite(windows.newest) & (ratio > 0)
        parts.append({name: values[kept] for name, values in part.items()})
        pairs.append(rows[kept])
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if not len(joined["actual"]):
        return []
    return list(order_results(joined, np.concatenate(pairs), (SIMPLE_ORDERS, "last_week_same_day")))
