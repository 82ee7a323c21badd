"""Look back along the days of a matrix: a row a pair, a column a day, NaN where not known."""

from __future__ import annotations

import numpy as np

from larder.learning.frames import Floats


def shifted(cells: Floats, days: int) -> Floats:
    """Move each day's value so many days later (earlier, if negative); NaN where nothing comes."""
    moved = np.full(cells.shape, np.nan)
    if abs(days) >= cells.shape[1]:
        return moved
    if days >= 0:
        moved[:, days:] = cells[:, : cells.shape[1] - days]
    else:
        moved[:, :days] = cells[:, -days:]
    return moved


def rolling_sum(cells: Floats, days: int) -> Floats:
    """Add each day and the days before it up, so many in all; NaN adds nothing."""
    sums = np.zeros((cells.shape[0], cells.shape[1] + 1))
    np.cumsum(np.where(np.isnan(cells), 0.0, cells), axis=1, out=sums[:, 1:])
    total = sums[:, 1:].copy()
    total[:, days:] -= sums[:, 1:-days]
    return total


def rolling_mean(cells: Floats, days: int) -> Floats:
    """Average each day and the days before it, so many in all; NaN where none of them is known."""
    count = rolling_sum(np.isfinite(cells).astype(np.float64), days)
    return divided(rolling_sum(cells, days), np.where(count > 0.5, count, 0.0))


def mean_of(stacked: Floats) -> Floats:
    """Average the known values along the first axis; NaN where none is."""
    return divided(np.nansum(stacked, axis=0), np.isfinite(stacked).sum(axis=0).astype(np.float64))


def divided(total: Floats, by: Floats) -> Floats:
    """Divide; NaN where the divisor is not above 0."""
    return np.asarray(np.divide(total, by, out=np.full(total.shape, np.nan), where=by > 0))


def fitted(cells: Floats, width: int) -> Floats:
    """Cut the days after the last wanted one off, or fill them with NaN."""
    missing = width - cells.shape[1]
    if missing <= 0:
        return cells[:, :width]
    return np.concatenate([cells, np.full((cells.shape[0], missing), np.nan)], axis=1)
