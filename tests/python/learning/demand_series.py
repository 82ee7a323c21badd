"""Demand series with weekdays, holidays, promotions and a trend, as somebody might bring them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from larder.learning.features import Surroundings
from larder.learning.panel import Panel
from larder.learning.series import read_series

FIRST_DATE = np.datetime64("2024-01-01", "D")


def make_frame(seed: int, days: int = 450, places: int = 4, items: int = 3) -> pd.DataFrame:
    """Return rows of all series; demand is Poisson, promotions and holidays raise it."""
    rng = np.random.default_rng(seed)
    size = places * items
    level = rng.uniform(2, 40, size)[:, None]
    weekday = np.array([0.8, 0.8, 0.9, 1.0, 1.4, 1.3, 0.5])[np.arange(days) % 7]
    holiday = (rng.uniform(size=days) < 0.03)[None] & np.ones((size, 1), dtype=np.bool_)
    promoted = rng.uniform(size=(size, days)) < 0.1
    rain = np.broadcast_to(rng.gamma(1, 2, days)[None], (size, days))
    mean = level * weekday * np.where(promoted, 1.5, 1.0) * np.where(holiday, 0.4, 1.0)
    pair, day = (part.ravel() for part in np.indices((size, days)))
    return pd.DataFrame(
        {
            "location_id": [f"place_{number}" for number in pair // items],
            "item_id": [f"item_{number}" for number in pair % items],
            "date": FIRST_DATE + day,
            "demand_units": rng.poisson(mean).ravel().astype(np.float64),
            "is_holiday": holiday.ravel(),
            "is_promoted": promoted.ravel(),
            "rain": rain.ravel(),
        }
    )


def make_series(seed: int, days: int = 450) -> tuple[Panel, Surroundings]:
    """Return the series as a panel; what is known beforehand reaches 20 days further."""
    frame = make_frame(seed, days + 20)
    panel, surroundings = read_series(frame)
    known = panel.until(days - 1)
    signals = {name: cells[:, :days] for name, cells in surroundings.signals.items()}
    return known, Surroundings(
        surroundings.holidays, surroundings.events, signals, surroundings.places
    )
