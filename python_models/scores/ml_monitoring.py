"""One row per model, as-of date and signal: whether earlier scores agree with what happened since.

Appended once per model and as-of date; looks at the scores of the last 28 days only, and at the
features of these days for a learned model. Memory about 0.6 GB per million stock days plus 0.3 GB
per million scores read.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from larder.learning import (
    frames,
    monitoring,
    orders,
    panel,
    registry,
    stability,
    training,
    waste,
)
from larder.learning.surroundings import Known, read_surroundings

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
    known: Known,
    champion: registry.Champion | None = None,
) -> pd.DataFrame:
    """Compare the risks and plans of the last weeks with the days since, by the model in charge.

    And, of a learned model, what its forecasts go by with the days that it learned from.
    """
    history = panel.read_panel(days, pairs)
    if history.size == 0:
        return frames.empty(SCHEMA)
    names, versions = in_charge(champion)
    risks, plans = (
        scores[scores["model_version"] == version]
        for scores, version in zip((risks, plans), versions, strict=True)
    )
    window = history.columns(max(history.width - monitoring.WINDOW_DAYS - 1, 0), history.width)
    told_risks = told(window, risks, "as_of_date", "horizon_days", "waste_probability")
    told_plans = told(window, plans, "order_date", "days_covered", "demand_p90")
    of_risk = [monitoring.rolling_brier(window, *told_risks)]
    of_orders = [monitoring.rolling_coverage(window, *told_plans)]
    if champion:
        of_orders += inputs_of(champion.learned, history, known)
    signals = [*of_risk, *of_orders]
    counts = [len(of_risk), len(of_orders)]
    columns = {
        "model_name": np.repeat(names, counts),
        "model_version": np.repeat(versions, counts),
        "as_of_date": np.full(len(signals), history.as_of.max()),
        **{
            name: [getattr(signal, name) for signal in signals]
            for name in ("signal", "value", "threshold", "is_alarm", "observations")
        },
    }
    return frames.table(columns, SCHEMA)


def told(
    window: panel.Panel, scores: pd.DataFrame, day: str, days: str, said: str
) -> tuple[frames.Ints, frames.Days, frames.Ints, frames.Floats]:
    """Read of each score its pair in the panel, its day, for how many days it is, and its number.

    Args:
        day, days, said: the columns that hold the last three.
    """
    return (
        window.positions(frames.texts(scores, "location_id"), frames.texts(scores, "item_id")),
        frames.days(scores, day),
        frames.numbers(scores, days).astype(np.int64),
        frames.numbers(scores, said),
    )


def inputs_of(
    learned: training.Learned, history: panel.Panel, known: Known
) -> Iterator[monitoring.Signal]:
    """Compare what the forecasts go by with the days that were learned from."""
    around = read_surroundings(history, known, 1, learned.codes)
    return stability.stability(learned.reference, history, around)


def in_charge(champion: registry.Champion | None) -> tuple[list[str], list[str]]:
    """Name the models of risk and of orders that score now, and their versions."""
    if champion is None:
        return [waste.MODEL_NAME, orders.MODEL_NAME], [waste.MODEL_VERSION, orders.MODEL_VERSION]
    return [registry.RISK_MODEL, registry.ORDER_MODEL], [champion.version] * 2


def recent(pairs: pd.DataFrame) -> str:
    """Write the SQL condition that keeps the scores of the last 28 days."""
    newest = frames.days(pairs, "as_of_date").max()
    return f"as_of_date >= date '{newest - np.timedelta64(monitoring.WINDOW_DAYS, 'D')}'"


def around(dbt: Any, pairs: pd.DataFrame) -> Known:
    """Read what is known around the pairs."""
    return Known(
        pairs,
        frames.to_pandas(dbt.ref("dim_region_dates")),
        frames.to_pandas(dbt.ref("int_catalog__promoted_times")),
        frames.to_pandas(dbt.ref("int_orders__item_trends")),
    )


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
    condition = "days_ago >= 0" if champion else f"days_ago <= {monitoring.WINDOW_DAYS}"
    days = frames.to_pandas(dbt.ref("int_stock__score_days").filter(condition))
    risks = frames.to_pandas(dbt.ref("ml_waste_probabilities").filter(recent(pairs)))
    plans = frames.to_pandas(dbt.ref("ml_order_quantities").filter(recent(pairs)))
    signals = monitor(days, pairs, risks, plans, around(dbt, pairs), champion)
    return frames.for_engine(frames.without_known(signals, known, KEYS), session)
