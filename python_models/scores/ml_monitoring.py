"""One row per model, as-of date and signal: whether earlier scores agree with what happened since.

Appended once per model and as-of date; looks at the scores of the last 28 days only. Memory about
0.6 GB per million stock days plus 0.3 GB per million scores read.
"""

from typing import Any

import numpy as np
import pandas as pd

from larder.learning import frames, monitoring, orders, panel, registry, waste

SCHEMA = {
    "model_name": frames.TEXT,
    "model_version": frames.TEXT,
    "as_of_date": frames.DATE,
    "signal": frames.TEXT,
    "value": frames.NUMBER,
    "threshold": frames.NUMBER,
    "is_alarm": frames.FLAG,
    "observations": frames.COUNT,
}

KEYS = ["model_name", "model_version", "as_of_date"]


def monitor(
    days: pd.DataFrame,
    pairs: pd.DataFrame,
    risks: pd.DataFrame,
    plans: pd.DataFrame,
    champion: registry.Champion | None = None,
) -> pd.DataFrame:
    """Compare the risks and plans of the last weeks with the days since, by the model in charge."""
    history = panel.read_panel(days, pairs)
    if history.size == 0:
        return frames.empty(SCHEMA)
    names, versions = in_charge(champion)
    risks = risks[risks["model_version"] == versions[0]]
    plans = plans[plans["model_version"] == versions[1]]
    signals = [
        monitoring.rolling_brier(
            history,
            positions(history, risks),
            frames.days(risks, "as_of_date"),
            frames.numbers(risks, "horizon_days").astype(np.int64),
            frames.numbers(risks, "waste_probability"),
        ),
        monitoring.rolling_coverage(
            history,
            positions(history, plans),
            frames.days(plans, "order_date"),
            frames.numbers(plans, "days_covered").astype(np.int64),
            frames.numbers(plans, "demand_p90"),
        ),
    ]
    columns = {
        "model_name": names,
        "model_version": versions,
        "as_of_date": np.full(2, history.as_of.max()),
        "signal": [signal.signal for signal in signals],
        "value": [signal.value for signal in signals],
        "threshold": [signal.threshold for signal in signals],
        "is_alarm": [signal.is_alarm for signal in signals],
        "observations": [signal.observations for signal in signals],
    }
    return frames.table(columns, SCHEMA)


def in_charge(champion: registry.Champion | None) -> tuple[list[str], list[str]]:
    """Name the models of risk and of orders that score now, and their versions."""
    if champion is None:
        return [waste.MODEL_NAME, orders.MODEL_NAME], [waste.MODEL_VERSION, orders.MODEL_VERSION]
    return [registry.RISK_MODEL, registry.ORDER_MODEL], [champion.version] * 2


def positions(history: panel.Panel, scores: pd.DataFrame) -> frames.Ints:
    """Find the pair of each score in the panel."""
    return history.positions(frames.texts(scores, "location_id"), frames.texts(scores, "item_id"))


def recent(pairs: pd.DataFrame) -> str:
    """Write the SQL condition that keeps the scores of the last 28 days."""
    newest = frames.days(pairs, "as_of_date").max()
    return f"as_of_date >= date '{newest - np.timedelta64(monitoring.WINDOW_DAYS, 'D')}'"


def model(dbt: Any, session: Any) -> pd.DataFrame:
    """Append the signals of an as-of date that has none yet."""
    dbt.config(
        materialized="incremental",
        incremental_strategy="append",
        packages=["lightgbm", "numpy", "pandas", "pyarrow", "scikit-learn"],
    )
    pairs = frames.to_pandas(dbt.ref("int_stock__score_pairs"))
    known = None
    if dbt.is_incremental:
        query = f"select distinct {', '.join(KEYS)} from {dbt.this}"
        known = frames.to_pandas(session.sql(query))
    champion = registry.champion(frames.to_pandas(dbt.ref("ml_models").filter("is_promoted")))
    if frames.is_known(pairs, known, in_charge(champion)[1]):
        return frames.for_engine(frames.empty(SCHEMA), session)
    # both engines take a condition as SQL text, so that what is old stays where it is
    days = dbt.ref("int_stock__score_days").filter(f"days_ago <= {monitoring.WINDOW_DAYS}")
    risks = frames.to_pandas(dbt.ref("ml_waste_probabilities").filter(recent(pairs)))
    plans = frames.to_pandas(dbt.ref("ml_order_quantities").filter(recent(pairs)))
    signals = monitor(frames.to_pandas(days), pairs, risks, plans, champion)
    return frames.for_engine(frames.without_known(signals, known, KEYS), session)
