"""Whether what was scored in the last weeks agrees with what happened since."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from larder.learning.frames import Days, Floats, Ints
from larder.learning.metrics import brier
from larder.learning.panel import Panel
from larder.learning.waste import held_outcomes

WINDOW_DAYS = 28
MIN_OBSERVATIONS = 100
BRIER_MARGIN = 0.02
COVERAGE_FLOOR = 0.8


@dataclass(frozen=True)
class Signal:
    """Hold one signal; the value is NaN, and no alarm rings, with too little history."""

    signal: str
    value: float
    threshold: float
    is_alarm: bool
    observations: int


def rolling_brier(
    panel: Panel, rows: Ints, as_of: Days, horizons: Ints, probability: Floats
) -> Signal:
    """Score R earlier waste probabilities whose horizon has passed, where units were held.

    Alarms when the Brier score is more than 0.02 above that of the window's own rate, that is,
    when a constant would have served clearly better.
    """
    column = _columns(panel, rows, as_of)
    scored: list[Floats] = []
    happened: list[Floats] = []
    for horizon, wasted, known in held_outcomes(panel, int(horizons.max(initial=0))):
        at = (rows >= 0) & (horizons == horizon) & (column >= 0) & (column < known.shape[1])
        row, day, chance = rows[at], column[at], probability[at]
        ripe = known[row, day]
        scored.append(chance[ripe])
        happened.append((wasted[row, day][ripe] > 0).astype(np.float64))
    chance, outcome = (
        np.concatenate(scored or [np.zeros(0)]),
        np.concatenate(happened or [np.zeros(0)]),
    )
    if len(outcome) < MIN_OBSERVATIONS:
        return Signal("brier", np.nan, np.nan, False, len(outcome))
    value = brier(chance, outcome)
    threshold = float(outcome.mean() * (1 - outcome.mean())) + BRIER_MARGIN
    return Signal("brier", value, threshold, value > threshold, len(outcome))


def rolling_coverage(
    panel: Panel, rows: Ints, first_days: Days, cover: Ints, demand_p90: Floats
) -> Signal:
    """Compute how often demand stayed within its 90 % quantile, for R earlier orders.

    Only orders whose covered days are over and did not sell out. Alarms below 0.8.
    """
    column = _columns(panel, rows, first_days)
    sold, ran_out, seen = (
        np.concatenate([np.zeros((panel.size, 1)), np.cumsum(cells, axis=1)], axis=1)
        for cells in (panel.sold, panel.stocked_out, panel.observed)
    )
    over = (rows >= 0) & (column >= 0) & (column + cover <= panel.width)
    row, start, stop = rows[over], column[over], (column + cover)[over]
    whole = (seen[row, stop] - seen[row, start] == cover[over]) & (
        ran_out[row, stop] == ran_out[row, start]
    )
    actual = (sold[row, stop] - sold[row, start])[whole]
    if len(actual) < MIN_OBSERVATIONS:
        return Signal("coverage_p90", np.nan, np.nan, False, len(actual))
    value = float(np.mean(actual <= demand_p90[over][whole]))
    return Signal("coverage_p90", value, COVERAGE_FLOOR, value < COVERAGE_FLOOR, len(actual))


def _columns(panel: Panel, rows: Ints, dates: Days) -> Ints:
    """Find the panel's column of each date; only meaningful where the row is known."""
    if panel.size == 0:
        return np.full(len(rows), -1, dtype=np.int64)
    days_ago = (panel.as_of[rows] - dates).astype("timedelta64[D]").astype(np.int64)
    return np.asarray(panel.width - 1 - days_ago)
