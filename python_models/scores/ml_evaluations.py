"""One row per model, as-of date, metric and baseline: how good the scores are.

Appended once a week, and when a model version is new. Evaluates the last 28 days only, so the cost
does not grow with history. Memory about 0.3 GB per million stock days read, O(rows) time.
"""

from typing import Any

import numpy as np
import pandas as pd

from larder.learning import evaluation, frames, orders, panel, waste

SCHEMA = {
    "model_name": frames.TEXT,
    "model_version": frames.TEXT,
    "evaluated_at": frames.TIMESTAMP,
    "metric": frames.TEXT,
    "value": frames.NUMBER,
    "baseline_name": frames.TEXT,
    "baseline_value": frames.NUMBER,
    "observations": frames.COUNT,
    "as_of_date": frames.DATE,
}

KEYS = ["model_name", "model_version", "as_of_date"]


def evaluate(
    days: pd.DataFrame, pairs: pd.DataFrame, items: pd.DataFrame, now: pd.DataFrame
) -> pd.DataFrame:
    """Evaluate both simple models on the last 28 days, forward in time with an embargo."""
    history = panel.read_panel(days, pairs)
    if history.size == 0:
        return frames.empty(SCHEMA)
    shelf_life = panel.shelf_lives(history, items)
    found = [
        (waste.MODEL_NAME, waste.MODEL_VERSION, result)
        for result in evaluation.evaluate_waste(history, shelf_life)
    ] + [
        (orders.MODEL_NAME, orders.MODEL_VERSION, result)
        for result in evaluation.evaluate_orders(history, shelf_life, item_costs(history, items))
    ]
    columns = {
        "model_name": [name for name, _, _ in found],
        "model_version": [version for _, version, _ in found],
        "evaluated_at": frames.as_of_moment(now, len(found)),
        "metric": [result.metric for _, _, result in found],
        "value": [result.value for _, _, result in found],
        "baseline_name": [result.baseline_name for _, _, result in found],
        "baseline_value": [result.baseline_value for _, _, result in found],
        "observations": [result.observations for _, _, result in found],
        "as_of_date": np.full(len(found), history.as_of.max()),
    }
    return frames.table(columns, SCHEMA)


def item_costs(history: panel.Panel, items: pd.DataFrame) -> orders.Costs:
    """Read each pair's costs of one unit too few and one too many; none if the price is unknown."""
    known = pd.DataFrame(
        {
            name: frames.numbers(items, name)
            for name in ("price_usd", "unit_cost_usd", "disposal_cost_usd")
        },
        index=frames.texts(items, "item_id"),
    )
    found = known.groupby(level=0).first().reindex(history.item_ids)
    price, cost, disposal = (found[name].to_numpy() for name in known.columns)
    is_priced = np.isfinite(price) & np.isfinite(cost)
    costs = orders.unit_costs(price, cost, disposal)
    return orders.Costs(costs.underage * is_priced, costs.overage * is_priced)


def model(dbt: Any, session: Any) -> pd.DataFrame:
    """Append an evaluation when the last one, of these model versions, is a week old."""
    dbt.config(
        materialized="incremental",
        incremental_strategy="append",
        packages=["numpy", "pandas", "pyarrow"],
    )
    pairs = frames.to_pandas(dbt.ref("int_stock__score_pairs"))
    known = None
    if dbt.is_incremental:
        query = f"select distinct {', '.join(KEYS)} from {dbt.this}"
        known = frames.to_pandas(session.sql(query))
    versions = [waste.MODEL_VERSION, orders.MODEL_VERSION]
    if frames.is_known(pairs, known, versions, evaluation.DAYS_BETWEEN):
        return frames.for_engine(frames.empty(SCHEMA), session)
    scores = evaluate(
        frames.to_pandas(dbt.ref("int_stock__score_days")),
        pairs,
        frames.to_pandas(dbt.ref("dim_items")),
        frames.to_pandas(dbt.ref("int_clock__now")),
    )
    return frames.for_engine(frames.without_known(scores, known, KEYS), session)
