"""One row per location, item and as-of date: how many units to order for the next delivery.

Appended: a pair and as-of date that is already there is never planned again. Memory about 0.2 GB
per million stock days read, O(rows) time.
"""

from typing import Any

import numpy as np
import pandas as pd

from larder.learning import (
    demand,
    frames,
    lots,
    orders,
    panel,
    reasons,
    registry,
    scoring,
    training,
    waste,
)
from larder.learning.surroundings import Known, read_surroundings

SCHEMA = {
    "location_id": frames.TEXT,
    "item_id": frames.TEXT,
    "as_of_date": frames.DATE,
    "order_date": frames.DATE,
    "order_quantity": frames.COUNT,
    "critical_ratio": frames.NUMBER,
    "demand_p10": frames.NUMBER,
    "demand_p50": frames.NUMBER,
    "demand_p90": frames.NUMBER,
    "expected_cost_usd": frames.NUMBER,
    "reasons": frames.TEXT,
    "model_version": frames.TEXT,
    "scored_at": frames.TIMESTAMP,
    "days_covered": frames.COUNT,
    "stock_units": frames.NUMBER,
}

KEYS = ["location_id", "item_id", "as_of_date"]


def plan(
    days: pd.DataFrame,
    pairs: pd.DataFrame,
    candidates: pd.DataFrame,
    now: pd.DataFrame,
    held: pd.DataFrame,
    known: Known,
    champion: registry.Champion | None,
) -> pd.DataFrame:
    """Plan the order of every candidate.

    By the champion, with what is known around the pairs and held now; without one, from what the
    pair was asked for on the same weekdays.
    """
    if candidates.empty:
        return frames.empty(SCHEMA)
    history = panel.read_panel(days, pairs)
    candidates = candidates.sort_values(["location_id", "item_id", "order_date"])
    costs = orders.unit_costs(
        frames.numbers(candidates, "price_usd"),
        frames.numbers(candidates, "unit_cost_usd"),
        frames.numbers(candidates, "disposal_cost_usd"),
    )
    if champion is None:
        version, planned = orders.MODEL_VERSION, simple_plan(history, candidates, costs)
    else:
        version = champion.version
        planned = learned_plan(history, candidates, costs, champion.learned, known, held)
    columns = {
        "location_id": frames.texts(candidates, "location_id"),
        "item_id": frames.texts(candidates, "item_id"),
        "as_of_date": frames.days(candidates, "as_of_date"),
        "order_date": frames.days(candidates, "order_date"),
        "order_quantity": planned.plan.units,
        "critical_ratio": costs.critical_ratio,
        "demand_p10": planned.demand_p10,
        "demand_p50": planned.demand_p50,
        "demand_p90": planned.demand_p90,
        "expected_cost_usd": planned.plan.expected_cost,
        "reasons": planned.reasons,
        "model_version": np.full(len(candidates), version, dtype=object),
        "scored_at": frames.as_of_moment(now, len(candidates)),
        "days_covered": days_to_cover(candidates),
        "stock_units": units_left(candidates),
    }
    return frames.table(columns, SCHEMA)


def simple_plan(
    history: panel.Panel, candidates: pd.DataFrame, costs: orders.Costs
) -> scoring.Orders:
    """Plan from the same weekdays of the past."""
    item_ids = frames.texts(candidates, "item_id")
    rows = history.positions(frames.texts(candidates, "location_id"), item_ids)
    cover, stock = days_to_cover(candidates), units_left(candidates)
    wanted, windows = demand.demand_distributions(
        history, rows, item_codes(history, item_ids), days_ahead(candidates), cover
    )
    quantity, expected_cost = orders.order_quantities(wanted, costs, stock, pack_size(candidates))
    return scoring.Orders(
        orders.Plan(quantity, expected_cost),
        wanted.quantile(0.1),
        wanted.quantile(0.5),
        wanted.quantile(0.9),
        reasons.order_reasons(
            wanted,
            windows,
            costs,
            frames.days(candidates, "order_date"),
            cover,
            stock,
            frames.flags(candidates, "is_holiday"),
        ),
    )


def learned_plan(
    history: panel.Panel,
    candidates: pd.DataFrame,
    costs: orders.Costs,
    learned: training.Learned,
    known: Known,
    held: pd.DataFrame,
) -> scoring.Orders:
    """Plan by the learned forecasts, with the lots that are held now."""
    rows = history.positions(
        frames.texts(candidates, "location_id"), frames.texts(candidates, "item_id")
    )
    if (rows < 0).any():
        raise ValueError("int_orders__candidates has a pair that int_stock__score_pairs has not")
    ahead, life, stock = days_ahead(candidates), shelf_life(candidates), units_left(candidates)
    horizon = int((ahead + np.minimum(life, waste.MAX_HORIZON_DAYS)).max()) - 1
    units, expiring, _ = lots.units_held(history, held, horizon)
    lives = np.ones(history.size, dtype=np.int64)
    np.maximum.at(lives, rows, life)
    place = history.location_codes[rows]
    there = np.bincount(place, stock)[place]
    return scoring.score_orders(
        learned,
        history,
        read_surroundings(history, known, horizon, learned.codes),
        rows,
        ahead,
        days_to_cover(candidates),
        life,
        costs,
        pack_size(candidates),
        units,
        lots.due_within(units, expiring, lives),
        stock,
        frames.numbers(candidates, "capacity_units") - there,
    )


def pack_size(candidates: pd.DataFrame) -> frames.Ints:
    """Read the units of a pack, 1 where unknown."""
    packs = np.nan_to_num(frames.numbers(candidates, "pack_size"), nan=1)
    return np.maximum(packs, 1).astype(np.int64)


def shelf_life(candidates: pd.DataFrame) -> frames.Ints:
    """Read the shelf life in days, at least 1; 1 where unknown."""
    life = np.nan_to_num(frames.numbers(candidates, "shelf_life_days"), nan=1)
    return np.maximum(life, 1).astype(np.int64)


def units_left(candidates: pd.DataFrame) -> frames.Floats:
    """Read the units that are still there when the delivery comes."""
    return np.maximum(np.nan_to_num(frames.numbers(candidates, "stock_units")), 0)


def days_ahead(candidates: pd.DataFrame) -> frames.Ints:
    """Count the days from the as-of date to the delivery, at least 1."""
    ahead = frames.days(candidates, "order_date") - frames.days(candidates, "as_of_date")
    return np.maximum(ahead.astype(np.int64), 1)


def days_to_cover(candidates: pd.DataFrame) -> frames.Ints:
    """Cover the days until the following delivery, but not past the units' shelf life."""
    days = np.nan_to_num(frames.numbers(candidates, "days_covered"), nan=1).astype(np.int64)
    return np.maximum(np.minimum(days, shelf_life(candidates)), 1)


def item_codes(history: panel.Panel, item_ids: frames.Texts) -> frames.Ints:
    """Find the panel's code of each item, -1 for one that no location has had."""
    codes = pd.Series(history.item_codes, index=history.item_ids).groupby(level=0).first()
    return codes.reindex(item_ids).fillna(-1).to_numpy(dtype=np.int64)


def inputs(
    dbt: Any, candidates: pd.DataFrame, champion: registry.Champion | None
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame, Known]:
    """Read what a plan needs: the arguments of `plan` up to what is known around the pairs."""
    # both engines take a condition as SQL text, so that what is not looked at stays where it is
    newest = demand.days_looked_at(days_ahead(candidates), days_to_cover(candidates))
    condition = "days_ago >= 0" if champion else f"days_ago < {newest}"
    pairs = frames.to_pandas(dbt.ref("int_stock__score_pairs"))
    return (
        frames.to_pandas(dbt.ref("int_stock__score_days").filter(condition)),
        pairs,
        candidates,
        frames.to_pandas(dbt.ref("int_clock__now")),
        frames.to_pandas(dbt.ref("int_stock__units_held")),
        Known(
            pairs,
            frames.to_pandas(dbt.ref("dim_region_dates")),
            frames.to_pandas(dbt.ref("int_catalog__promoted_times")),
            frames.to_pandas(dbt.ref("int_orders__item_trends")),
        ),
    )


def model(dbt: Any, session: Any) -> pd.DataFrame:
    """Append the plans of the as-of dates that have none yet."""
    dbt.config(
        materialized="incremental",
        incremental_strategy="append",
        packages=["lightgbm", "numpy", "pandas", "pyarrow", "scikit-learn"],
    )
    candidates = frames.to_pandas(dbt.ref("int_orders__candidates"))
    known = None
    if dbt.is_incremental and len(candidates):
        query = f"select distinct {', '.join(KEYS)} from {dbt.this}"
        since = f" where as_of_date >= date '{frames.days(candidates, 'as_of_date').min()}'"
        known = frames.to_pandas(session.sql(query + since))
    # a build in whose time no day has closed does not pay for reading the history
    if frames.without_known(candidates, known, KEYS).empty:
        return frames.for_engine(frames.empty(SCHEMA), session)
    champion = registry.champion(frames.to_pandas(dbt.ref("ml_models").filter("is_promoted")))
    plans = plan(*inputs(dbt, candidates, champion), champion)
    return frames.for_engine(frames.without_known(plans, known, KEYS), session)
