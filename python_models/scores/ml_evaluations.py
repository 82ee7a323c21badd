"""One row per model, as-of date, metric and baseline: how good the scores are.

Appended for a learned model when it is registered, with the test on four weeks that its like had
not seen; for the simple ones once a week. Evaluates the last 28 days only, so the cost does not
grow with history. Memory about 0.3 GB per million stock days read, O(rows) time.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from larder.learning import evaluation, frames, metrics, orders, panel, registry, waste

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
    "value_low": frames.NUMBER,
    "value_high": frames.NUMBER,
    "difference_low": frames.NUMBER,
    "difference_high": frames.NUMBER,
}
# columns that are a result's own
MEASURED = [field.name for field in dataclasses.fields(metrics.Result)]

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
        for result in evaluation.evaluate_orders(
            history, shelf_life, orders.item_costs(history, items)
        )
    ]
    columns = {
        "model_name": [name for name, _, _ in found],
        "model_version": [version for _, version, _ in found],
        "evaluated_at": frames.as_of_moment(now, len(found)),
        **measured([result for _, _, result in found]),
        "as_of_date": np.full(len(found), history.as_of.max()),
    }
    return frames.table(columns, SCHEMA)


def measured(results: Sequence[metrics.Result]) -> dict[str, list[Any]]:
    """Lay results out in columns."""
    return {name: [getattr(result, name) for result in results] for name in MEASURED}


def at_training(models: pd.DataFrame, now: pd.DataFrame) -> pd.DataFrame:
    """List what each learned model was tested for before it was registered."""
    models = models[models["model_name"].isin(list(registry.BASELINES))]
    found = [
        (row.model_name, row.model_version, row.data_until, result)
        for row in models.itertuples()
        for result in registry.read(str(row.scores))
    ]
    until = pd.DataFrame({"as_of_date": [until for _, _, until, _ in found]})
    columns = {
        "model_name": [name for name, _, _, _ in found],
        "model_version": [version for _, version, _, _ in found],
        "evaluated_at": frames.as_of_moment(now, len(found)),
        **measured([result for _, _, _, result in found]),
        "as_of_date": frames.days(until, "as_of_date"),
    }
    return frames.table(columns, SCHEMA)


def model(dbt: Any, session: Any) -> pd.DataFrame:
    """Append the tests of new models, and each week an evaluation of the simple ones."""
    dbt.config(
        materialized="incremental",
        incremental_strategy="append",
        packages=["lightgbm", "numpy", "pandas", "pyarrow", "scikit-learn"],
    )
    pairs = frames.to_pandas(dbt.ref("int_stock__score_pairs"))
    now = frames.to_pandas(dbt.ref("int_clock__now"))
    known = None
    if dbt.is_incremental:
        query = f"select distinct {', '.join(KEYS)} from {dbt.this}"
        known = frames.to_pandas(session.sql(query))
    scores = at_training(frames.to_pandas(dbt.ref("ml_models")), now)
    versions = [waste.MODEL_VERSION, orders.MODEL_VERSION]
    if not frames.is_known(pairs, known, versions, evaluation.DAYS_BETWEEN):
        days = frames.to_pandas(dbt.ref("int_stock__score_days"))
        items = frames.to_pandas(dbt.ref("dim_items"))
        scores = pd.concat([scores, evaluate(days, pairs, items, now)], ignore_index=True)
    return frames.for_engine(frames.without_known(scores, known, KEYS), session)
