"""Who may serve: only a model that beats its simple baseline, and is no worse than the champion."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from larder.learning.metrics import Result
from larder.learning.registry import (
    BASELINES,
    DECIDING,
    ORDER_MODEL,
    RISK_MODEL,
    Candidate,
    decide,
    is_due,
)

TODAY = np.datetime64("2026-05-01", "D")


def results(risk: float, orders: float) -> dict[str, list[Result]]:
    """Give what decides; the simple models have 0.2 and 5."""
    return {
        name: [Result(DECIDING[name], value, BASELINES[name], simple, 100)]
        for name, value, simple in ((RISK_MODEL, risk, 0.2), (ORDER_MODEL, orders, 5.0))
    }


def decision(found: Any, champion: Any) -> tuple[bool, str]:
    unused: Any = None
    return decide(Candidate(unused, TODAY, "", found, champion))


def test_the_name_of_a_model_begins_with_what_it_scores() -> None:
    """rpt_alerts goes by that: of all models that score the same, the newest is heard."""
    subjects = [
        {name.partition("_")[0] for name in learned_and_simple}
        for learned_and_simple in BASELINES.items()
    ]
    assert subjects == [{"waste"}, {"order"}]


@pytest.mark.parametrize(
    ("found", "champion", "promoted", "why"),
    [
        (results(0.1, 4), {}, True, "beats 0.2"),
        (results(0.3, 4), {}, False, "0.3 does not beat 0.2"),
        (results(0.1, 5), {}, False, "5 does not beat 5"),
        (results(0.1, 4), results(0.0995, 3.98), True, "no worse than 0.0995"),
        (results(0.1, 4), results(0.09, 4), False, "is worse than 0.09"),
        (results(0.1, 4), results(0.1, 3), False, "is worse than 3"),
        ({RISK_MODEL: [], ORDER_MODEL: []}, {}, False, "too little"),
    ],
)
def test_a_model_serves_only_if_it_is_better(
    found: Any, champion: Any, promoted: bool, why: str
) -> None:
    says, reason = decision(found, champion)
    assert says == promoted
    assert reason.startswith("promoted" if promoted else "not promoted")
    assert why in reason


def test_a_training_is_due_after_so_many_days_promoted_or_not() -> None:
    registered = pd.DataFrame(
        {
            "model_name": ["waste_shrunk_rate", RISK_MODEL],
            "data_until": [pd.Timestamp(TODAY), pd.Timestamp(TODAY - 27)],
        }
    )
    assert is_due(None, TODAY, 28)
    assert is_due(registered.head(1), TODAY, 28)
    assert not is_due(registered, TODAY, 28)
    assert is_due(registered, TODAY + 1, 28)
    # somebody asks for one
    assert is_due(registered, TODAY - 27, 0)
