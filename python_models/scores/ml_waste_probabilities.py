"""One row per location, item, as-of date and horizon: the risk that what is held ends as waste.

Appended: a pair and as-of date that is already there is never scored again. Memory about 0.2 GB
per million stock days read, O(rows) time.
"""

from typing import Any

import numpy as np
import pandas as pd

from larder.learning import frames, lots, panel, reasons, registry, scoring, waste
from larder.learning.surroundings import Known, read_surroundings

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
    known: Known,
    champion: registry.Champion | None,
) -> pd.DataFrame:
    """Score every pair on its as-of date, from 1 day ahead to the shelf life (at most 30).

    By the champion, with what is known around the pairs; by the simple rates without one.
    """
    history = panel.read_panel(days, pairs)
    if history.size == 0:
        return frames.empty(SCHEMA)
    shelf_life = panel.shelf_lives(history, items)
    horizons = waste.horizon_count(shelf_life)
    units, expiring, dated = lots.units_held(history, held, horizons)
    wanted = np.arange(1, horizons + 1) <= shelf_life[:, None]
    row, at = np.nonzero(wanted & history.observed[:, -1:])
    if champion is None:
        version = waste.MODEL_VERSION
        rates = waste.fit_waste_rates(history, shelf_life)
        probability, expected = waste.waste_risks(rates, units)
        said = reasons.waste_reasons(
            history, rates, row, at + 1, units[row], expiring[row, at], dated[row]
        )
    else:
        version = champion.version
        due = lots.due_within(units, expiring, shelf_life)
        codes = champion.learned.codes
        around = read_surroundings(history, known, horizons, codes)
        risks = scoring.score_risks(champion.learned, history, around, shelf_life, units, due)
        probability, expected, said = risks.probability, risks.units, risks.reasons[row, at]
    columns = {
        "location_id": history.location_ids[row],
        "item_id": history.item_ids[row],
        "as_of_date": history.as_of[row],
        "horizon_days": at + 1,
        "waste_probability": probability[row, at],
        "expected_wasted_units": expected[row, at],
        "reasons": said,
        "model_version": np.full(len(row), version, dtype=object),
        "scored_at": frames.as_of_moment(now, len(row)),
        "held_units": units[row],
    }
    return frames.table(columns, SCHEMA)


def inputs(
    dbt: Any, pairs: pd.DataFrame
) -> tuple[
    pd.DataFrame,
    pd.DataFrame,
    pd.DataFrame,
    pd.DataFrame,
    pd.DataFrame,
    Known,
    registry.Champion | None,
]:
    """Read the arguments of `score`."""
    return (
        frames.to_pandas(dbt.ref("int_stock__score_days")),
        pairs,
        frames.to_pandas(dbt.ref("int_stock__units_held")),
        frames.to_pandas(dbt.ref("dim_items")),
        frames.to_pandas(dbt.ref("int_clock__now")),
        Known(
            pairs,
            frames.to_pandas(dbt.ref("dim_region_dates")),
            frames.to_pandas(dbt.ref("int_catalog__promoted_times")),
            frames.to_pandas(dbt.ref("int_orders__item_trends")),
        ),
        registry.champion(frames.to_pandas(dbt.ref("ml_models").filter("is_promoted"))),
    )


def model(dbt: Any, session: Any) -> pd.DataFrame:
    """Append the risks of the as-of dates that have none yet."""
    dbt.config(
        materialized="incremental",
        incremental_strategy="append",
        packages=["lightgbm", "numpy", "pandas", "pyarrow", "scikit-learn"],
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
    scores = score(*inputs(dbt, pairs))
    return frames.for_engine(frames.without_known(scores, known, KEYS), session)
