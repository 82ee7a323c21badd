"""Draw some of what there is, where all of it is more than is needed."""

from __future__ import annotations

import numpy as np

from larder.learning.frames import Bools


def drawn(cells: Bools, most: int, seed: int) -> Bools:
    """Keep at most so many of the cells that are set, any of them as likely as another."""
    at = np.flatnonzero(cells)
    if len(at) <= most:
        return cells
    kept = np.zeros(cells.size, dtype=np.bool_)
    kept[np.random.default_rng(seed).choice(at, most, replace=False)] = True
    return kept.reshape(cells.shape)
