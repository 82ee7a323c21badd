"""One row per model and version: the registry. Rows are added, never changed.

The two simple models have no trained state: their rates are counted anew at each scoring from the
parameters alone, so `trained_at` says when the version first scored. Memory: negligible.
"""

import hashlib
import json
from typing import Any

import numpy as np
import pandas as pd

from larder.learning import frames, orders, waste

SCHEMA = {
    "model_name": frames.TEXT,
    "model_version": frames.TEXT,
    "trained_at": frames.TIMESTAMP,
    "data_until": frames.DATE,
    "parameters": frames.TEXT,
    "artefact_hash": frames.TEXT,
    "is_promoted": frames.FLAG,
    "decision": frames.TEXT,
}
DECISION = "promoted: the first simple model, with no champion before it; it stays as a baseline"


def registry(held: pd.DataFrame, candidates: pd.DataFrame, now: pd.DataFrame) -> pd.DataFrame:
    """List the two simple models with what they are made of."""
    moment = frames.as_of_moment(now, 2)
    until = np.concatenate([frames.days(held, "as_of_date"), frames.days(candidates, "as_of_date")])
    newest = until.max() if len(until) else moment[0].astype("datetime64[D]")
    parameters = [json.dumps(part.PARAMETERS, sort_keys=True) for part in (waste, orders)]
    columns = {
        "model_name": [waste.MODEL_NAME, orders.MODEL_NAME],
        "model_version": [waste.MODEL_VERSION, orders.MODEL_VERSION],
        "trained_at": moment,
        "data_until": np.full(2, newest),
        "parameters": parameters,
        "artefact_hash": [hashlib.sha256(text.encode()).hexdigest() for text in parameters],
        "is_promoted": [True, True],
        "decision": [DECISION, DECISION],
    }
    return frames.table(columns, SCHEMA)


def model(dbt: Any, session: Any) -> pd.DataFrame:
    """Append the versions that are not registered yet."""
    dbt.config(
        materialized="incremental",
        incremental_strategy="append",
        packages=["numpy", "pandas", "pyarrow"],
    )
    rows = registry(
        frames.to_pandas(dbt.ref("int_stock__units_held")),
        frames.to_pandas(dbt.ref("int_orders__candidates")),
        frames.to_pandas(dbt.ref("int_clock__now")),
    )
    known = None
    if dbt.is_incremental:
        known = frames.to_pandas(session.sql(f"select model_name, model_version from {dbt.this}"))
    keys = ["model_name", "model_version"]
    return frames.for_engine(frames.without_known(rows, known, keys), session)
