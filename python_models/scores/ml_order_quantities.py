"""One row per location, item and as-of date: how many units to order for the next delivery.

Appended: a pair and as-of date that is already there is never planned again. Memory about 0.2 GB
per million stock days read, O(rows) time.
"""

from typing import Any

import numpy as np
import pandas as pd

from larder.learning import demand, frames, orders, panel, reasons

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
    days: pd.DataFrame, pairs: pd.DataFrame, candidates: pd.DataFrame, now: pd.DataFrame
) -> pd.DataFrame:
    """Plan the order of every candidate from what its pair was asked for on the same weekdays."""
    if candidates.empty:
        return frames.empty(SCHEMA)
    history = panel.read_panel(days, pairs)
    candidates = candidates.sort_values(["location_id", "item_id", "order_date"])
    location_ids = frames.texts(candidates, "location_id")
    item_ids = frames.texts(candidates, "item_id")
    as_of = frames.days(candidates, "as_of_date")
    order_date = frames.days(candidates, "order_date")
    rows = history.positions(location_ids, item_ids)
    ahead, cover = days_ahead(candidates), days_to_cover(candidates)
    wanted, windows = demand.demand_distributions(
        history, rows, item_codes(history, item_ids), ahead, cover
    )
    costs = orders.unit_costs(
        frames.numbers(candidates, "price_usd"),
        frames.numbers(candidates, "unit_cost_usd"),
        frames.numbers(candidates, "disposal_cost_usd"),
    )
    stock = np.maximum(np.nan_to_num(frames.numbers(candidates, "stock_units")), 0)
    pack = np.nan_to_num(frames.numbers(candidates, "pack_size"), nan=1).astype(np.int64)
    quantity, expected_cost = orders.order_quantities(wanted, costs, stock, pack)
    columns = {
        "location_id": location_ids,
        "item_id": item_ids,
        "as_of_date": as_of,
        "order_date": order_date,
        "order_quantity": quantity,
        "critical_ratio": costs.critical_ratio,
        "demand_p10": wanted.quantile(0.1),
        "demand_p50": wanted.quantile(0.5),
        "demand_p90": wanted.quantile(0.9),
        "expected_cost_usd": expected_cost,
        "reasons": reasons.order_reasons(
            wanted,
            windows,
            costs,
            order_date,
            cover,
            stock,
            frames.flags(candidates, "is_holiday"),
        ),
        "model_version": np.full(len(rows), orders.MODEL_VERSION, dtype=object),
        "scored_at": frames.as_of_moment(now, len(rows)),
        "days_covered": cover,
        "stock_units": stock,
    }
    return frames.table(columns, SCHEMA)


def days_ahead(candidates: pd.DataFrame) -> frames.Ints:
    """Count the days from the as-of date to the delivery, at least 1."""
    ahead = frames.days(candidates, "order_date") - frames.days(candidates, "as_of_date")
    return np.maximum(ahead.astype(np.int64), 1)


def days_to_cover(candidates: pd.DataFrame) -> frames.Ints:
    """Cover the days until the following delivery, but not past the units' shelf life."""
    days = np.nan_to_num(frames.numbers(candidates, "days_covered"), nan=1)
    life = np.nan_to_num(frames.numbers(candidates, "shelf_life_days"), nan=1)
    return np.maximum(np.minimum(days, life), 1).astype(np.int64)


def item_codes(history: panel.Panel, item_ids: frames.Texts) -> frames.Ints:
    """Find the panel's code of each item, -1 for one that no location has had."""
    codes = pd.Series(history.item_codes, index=history.item_ids).groupby(level=0).first()
    return codes.reindex(item_ids).fillna(-1).to_numpy(dtype=np.int64)


def model(dbt: Any, session: Any) -> pd.DataFrame:
    """Append the plans of the as-of dates that have none yet."""
    dbt.config(
        materialized="incremental",
        incremental_strategy="append",
        packages=["numpy", "pandas", "pyarrow"],
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
    # both engines take a condition as SQL text, so that what is not looked at stays where it is
    newest = demand.days_looked_at(days_ahead(candidates), days_to_cover(candidates))
    plans = plan(
        frames.to_pandas(dbt.ref("int_stock__score_days").filter(f"days_ago < {newest}")),
        frames.to_pandas(dbt.ref("int_stock__score_pairs")),
        candidates,
        frames.to_pandas(dbt.ref("int_clock__now")),
    )
    return frames.for_engine(frames.without_known(plans, known, KEYS), session)
