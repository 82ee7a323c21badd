"""How much to believe of a deviation that was seen in a few periods."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def by_periods(found: float, each: Sequence[float]) -> float:
    """Shrink a deviation towards 0 by how much it differs from period to period.

    What one period had in common (a holiday, a season) says little about the next. Less than two
    periods say nothing. Source: the positive-part James-Stein estimator (Efron and Morris 1973,
    JASA 68).

    Args:
        found: the deviation over all periods. each: that of each, which must not hang together.
    """
    if len(each) < 2 or not found:
        return 0.0
    chance = float(np.var(each, ddof=1)) / len(each)
    return found * max(0.0, 1.0 - chance / found**2)
