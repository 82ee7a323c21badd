"""Anybody's demand series, so that they can be run through the same functions as a warehouse's."""

from __future__ import annotations

import numpy as np
import pandas as pd

from larder.learning.features import Surroundings
from larder.learning.frames import Floats, days, numbers, texts
from larder.learning.panel import Panel

KEYS = ("location_id", "item_id", "date", "demand_units")


def read_series(frame: pd.DataFrame) -> tuple[Panel, Surroundings]:
    """Lay a frame of demand series out as a panel, and what is known about their days.

    Args:
        frame: one row per series and day, in any order: `location_id`, `item_id`, `date`,
            `demand_units`. Further columns whose name begins with `is_` are known before the day
            (0 or 1; `is_holiday` also comes back after a year), all other numbers at its close.

    Raises:
        ValueError: a column is missing, or a series has two rows for a day.
    """
    missing = [column for column in KEYS if column not in frame.columns]
    if missing:
        raise ValueError(
            f"a frame of demand series needs the columns {', '.join(KEYS)}; "
            f"this one has no {', '.join(missing)}"
        )
    dates = days(frame, "date")
    location_codes, locations = pd.factorize(texts(frame, "location_id"), sort=True)
    item_codes, items = pd.factorize(texts(frame, "item_id"), sort=True)
    pairs, row = np.unique(location_codes * len(items) + item_codes, return_inverse=True)
    first, last = dates.min(), dates.max()
    column = (dates - first).astype(np.int64)
    shape = (len(pairs), int((last - first).astype(np.int64)) + 1)
    if len(np.unique(row * shape[1] + column)) < len(frame):
        raise ValueError("a series has two rows for a day; add their demand_units up")

    def matrix(name: str) -> Floats:
        cells = np.full(shape, np.nan)
        cells[row, column] = numbers(frame, name)
        return cells

    units = matrix("demand_units")
    observed = np.isfinite(units)
    nothing = np.zeros(shape)
    location_codes, item_codes = np.divmod(pairs, len(items))
    panel = Panel(
        location_ids=np.asarray(locations, dtype=object)[location_codes],
        item_ids=np.asarray(items, dtype=object)[item_codes],
        location_codes=location_codes.astype(np.int64),
        item_codes=item_codes.astype(np.int64),
        as_of=np.full(len(pairs), last),
        restocked=nothing,
        sold=np.maximum(np.nan_to_num(units), 0.0),
        discarded=nothing,
        missing=nothing,
        closing=nothing,
        available=observed.astype(np.float64),
        stocked_out=nothing > 0,
        observed=observed,
    )
    others = {name: matrix(name) for name in frame.columns if name not in KEYS}
    events = {
        name: np.nan_to_num(cells) for name, cells in others.items() if name.startswith("is_")
    }
    return panel, Surroundings(
        holidays=events.pop("is_holiday", nothing),
        events=events,
        signals={name: cells for name, cells in others.items() if not name.startswith("is_")},
        places={
            "location": panel.location_codes.astype(np.float64),
            "item": panel.item_codes.astype(np.float64),
        },
    )
