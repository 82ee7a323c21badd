"""One row per location, item, as-of date and horizon: the risk that what is held ends as waste.

Appended: a pair and as-of date that is already there is never scored again. Memory about 0.2 GB
per million stock days read, O(rows) time.
"""

from typing import Any

import numpy as np
import pandas as pd

from larder.learning import frames, panel, reasons, waste

SCHEMA = {
    "location_id": frames.TEXT,
    "item_id": frames.TEXT,
    "as_of_date": frames.DATE,
    "horizon_days": frames.COUNT,
    "waste_probability": frames.NUMBER,
    "expected_wasted_units": frames.NUMBER,
    "reasons": frames.TEXT,
    "model_version": frames.TEXT,
    "scored_at": frames.TIMESTAMP,
    "held_units": frames.NUMBER,
}

KEYS = ["location_id", "item_id", "as_of_date"]


def score(
    days: pd.DataFrame,
    pairs: pd.DataFrame,
    held: pd.DataFrame,
    items: pd.DataFrame,
    now: pd.DataFrame,
) -> pd.DataFrame:
    """Score every pair on its as-of date, from 1 day ahead to the shelf life (at most 30)."""
    history = panel.read_panel(days, pairs)
    if history.size == 0:
        return frames.empty(SCHEMA)
    shelf_life = panel.shelf_lives(history, items)
    rates = waste.fit_waste_rates(history, shelf_life)
    units, expiring, dated = units_held(history, held, waste.horizon_count(shelf_life))
    probability, expected = waste.waste_risks(rates, units)
    wanted = np.arange(1, probability.shape[1] + 1) <= shelf_life[:, None]
    row, at = np.nonzero(wanted & history.observed[:, -1:])
    columns = {
        "location_id": history.location_ids[row],
        "item_id": history.item_ids[row],
        "as_of_date": history.as_of[row],
        "horizon_days": at + 1,
        "waste_probability": probability[row, at],
        "expected_wasted_units": expected[row, at],
        "reasons": reasons.waste_reasons(
            history, rates, row, at + 1, units[row], expiring[row, at], dated[row]
        ),
        "model_version": np.full(len(row), waste.MODEL_VERSION, dtype=object),
        "scored_at": frames.as_of_moment(now, len(row)),
        "held_units": units[row],
    }
    return frames.table(columns, SCHEMA)


def units_held(
    history: panel.Panel, held: pd.DataFrame, horizons: int
) -> tuple[frames.Floats, frames.Floats, frames.Floats]:
    """Sum units held: all (S,), expiring within each horizon (S, H), with a known expiry (S,)."""
    row = history.positions(frames.texts(held, "location_id"), frames.texts(held, "item_id"))
    units = np.nan_to_num(frames.numbers(held, "units"))
    expires = frames.days(held, "expires_on")
    current = row >= 0
    # what was held on another day says nothing about tonight
    current &= frames.days(held, "as_of_date") == history.as_of[row]
    row, units, expires = row[current], units[current], expires[current]
    known = ~np.isnat(expires)
    left = np.where(known, (expires - history.as_of[row]).astype(np.int64), 0)
    expiring = np.zeros((history.size, horizons))
    for horizon in range(1, horizons + 1):
        due = units * (known & (left <= horizon))
        expiring[:, horizon - 1] = np.bincount(row, due, history.size)
    total, dated = (
        np.asarray(np.bincount(row, weights, history.size), dtype=np.float64)
        for weights in (units, units * known)
    )
    return total, expiring, dated


def model(dbt: Any, session: Any) -> pd.DataFrame:
    """Append the risks of the as-of dates that have none yet."""
    dbt.config(
        materialized="incremental",
        incremental_strategy="append",
        packages=["numpy", "pandas", "pyarrow"],
    )
    pairs = frames.to_pandas(dbt.ref("int_stock__score_pairs"))
    known = None
    if dbt.is_incremental and len(pairs):
        query = f"select distinct {', '.join(KEYS)} from {dbt.this}"
        since = f" where as_of_date >= date '{frames.days(pairs, 'as_of_date').min()}'"
        known = frames.to_pandas(session.sql(query + since))
    # a build in whose time no day has closed does not pay for reading the history
    if frames.without_known(pairs[frames.flags(pairs, "is_on_offer")], known, KEYS).empty:
        return frames.for_engine(frames.empty(SCHEMA), session)
    scores = score(
        frames.to_pandas(dbt.ref("int_stock__score_days")),
        pairs,
        frames.to_pandas(dbt.ref("int_stock__units_held")),
        frames.to_pandas(dbt.ref("dim_items")),
        frames.to_pandas(dbt.ref("int_clock__now")),
    )
    return frames.for_engine(frames.without_known(scores, known, KEYS), session)
