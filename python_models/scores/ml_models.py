"""One row per model and version: the registry. Rows are added, never changed.

The two simple models have no trained state: their rates are counted anew at each scoring from the
parameters alone, so `trained_at` says when the version first scored. The learned ones are trained
when none was for `retrain_days`, for `retrain_days_on_drift` where an alarm of ml_monitoring rings,
or when asked to; of the latter two only Larder tells (`larder run`, `build` and `train` set
LARDER_TRAIN), so a plain `dbt build` goes by `retrain_days` alone. A version that is not promoted
is registered, too, and never serves. Memory: about 0.6 GB and 40 s on two processors per 100,000
stock days trained on, of which there are at most 250,000; negligible in a run that does not train.
"""

import json
from typing import Any

import numpy as np
import pandas as pd

from larder.learning import (
    challenge,
    frames,
    orders,
    panel,
    registry,
    surroundings,
    training,
    waste,
)

SCHEMA = {
    "model_name": frames.TEXT,
    "model_version": frames.TEXT,
    "trained_at": frames.TIMESTAMP,
    "data_until": frames.DATE,
    "parameters": frames.TEXT,
    "artefact_hash": frames.TEXT,
    "is_promoted": frames.FLAG,
    "decision": frames.TEXT,
    "data_snapshot": frames.TEXT,
    "scores": frames.TEXT,
    "champion_scores": frames.TEXT,
    "artefact": frames.TEXT,
}
KEYS = ["model_name", "model_version"]
LEAST_DAYS = training.LEAST_DAYS + challenge.TESTED_DAYS
DECISION = "promoted: a simple model that needs no training; it serves until a learned one does"


def simple_models(pairs: pd.DataFrame, now: pd.DataFrame) -> pd.DataFrame:
    """List the two simple models with what they are made of."""
    moment = frames.as_of_moment(now, 2)
    until = frames.days(pairs, "as_of_date")
    newest = until.max() if len(until) else moment[0].astype("datetime64[D]")
    parameters = [json.dumps(part.PARAMETERS, sort_keys=True) for part in (waste, orders)]
    columns = {
        "model_name": [waste.MODEL_NAME, orders.MODEL_NAME],
        "model_version": [waste.MODEL_VERSION, orders.MODEL_VERSION],
        "trained_at": moment,
        "data_until": np.full(2, newest),
        "parameters": parameters,
        "artefact_hash": [training.artefact_hash(text) for text in parameters],
        "is_promoted": [True, True],
        "decision": [DECISION, DECISION],
        "data_snapshot": [""] * 2,
        "scores": ["[]"] * 2,
        "champion_scores": ["[]"] * 2,
        "artefact": parameters,
    }
    return frames.table(columns, SCHEMA)


def learned_models(
    days: pd.DataFrame,
    known: surroundings.Known,
    items: pd.DataFrame,
    now: pd.DataFrame,
    registered: pd.DataFrame | None,
) -> pd.DataFrame:
    """Train, test and register a model of demand and risk; no row with too little history."""
    history = panel.read_panel(days, known.pairs)
    serving = None if registered is None else registry.champion(registered)
    candidate = registry.train(
        history,
        known,
        panel.shelf_lives(history, items),
        orders.item_costs(history, items),
        serving,
        registry.snapshot(days.drop(columns="pair_number"), items[["item_id", "price_usd"]]),
    )
    if candidate is None:
        return frames.empty(SCHEMA)
    return frames.table(registry.rows(candidate, frames.as_of_moment(now, 2)), SCHEMA)


def shall_train(dbt: Any, pairs: pd.DataFrame, known: pd.DataFrame | None) -> bool:
    """Say whether a training is due, and there is a history to learn from."""
    if np.max(frames.numbers(pairs, "history_days"), initial=0) <= LEAST_DAYS:
        return False
    newest = frames.days(pairs, "as_of_date").max()
    return registry.is_due(known, newest, int(dbt.config.meta_get("retrain_days")))


def inputs(dbt: Any, pairs: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, surroundings.Known]:
    """Read what a training needs: stock days, items, and what is known around the pairs."""
    around = surroundings.Known(
        pairs,
        frames.to_pandas(dbt.ref("dim_region_dates")),
        frames.to_pandas(dbt.ref("int_catalog__promoted_times")),
        frames.to_pandas(dbt.ref("int_orders__item_trends")),
    )
    days = frames.to_pandas(dbt.ref("int_stock__score_days"))
    return days, frames.to_pandas(dbt.ref("dim_items")), around


def model(dbt: Any, session: Any) -> pd.DataFrame:
    """Append the versions that are not registered yet."""
    dbt.config(
        materialized="incremental",
        incremental_strategy="append",
        packages=["lightgbm", "numpy", "pandas", "pyarrow", "scikit-learn"],
    )
    pairs = frames.to_pandas(dbt.ref("int_stock__score_pairs"))
    now = frames.to_pandas(dbt.ref("int_clock__now"))
    known = None
    if dbt.is_incremental:
        query = f"select model_name, model_version, data_until from {dbt.this}"
        known = frames.to_pandas(session.sql(query))
    rows = simple_models(pairs, now)
    if shall_train(dbt, pairs, known):
        registered = None
        if dbt.is_incremental:
            registered = frames.to_pandas(session.sql(f"select * from {dbt.this}"))
        days, items, around = inputs(dbt, pairs)
        learned = learned_models(days, around, items, now, registered)
        rows = pd.concat([rows, learned], ignore_index=True)
    return frames.for_engine(frames.without_known(rows, known, KEYS), session)
