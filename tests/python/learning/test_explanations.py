"""Explanations are true: of made-up contributions, and of a model on a network that was counted."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
from conftest import around

from larder.learning.explanations import deciding_days, risk_reasons
from larder.learning.features import Features, Surroundings
from larder.learning.frames import Floats
from larder.learning.outlook import NAMES
from larder.learning.panel import Panel, read_panel, shelf_lives
from larder.learning.risk import Calibration, RiskModel
from larder.learning.scoring import score_risks
from larder.learning.surroundings import name_codes, read_surroundings
from larder.learning.training import Learned


@pytest.mark.parametrize(
    ("expiring", "expected", "days"),
    [
        pytest.param([12, 12, 12], [1.5, 4.5, 9], [1, 1, 1], id="all by tomorrow"),
        pytest.param([0, 0, 9], [1, 2, 3], [1, 2, 3], id="only in the end"),
        pytest.param([2, 9, 9], [3, 4, 5], [1, 2, 2], id="the second day"),
        pytest.param([1, 3, 5], [1, 3, 5], [1, 1, 1], id="equally, so the earliest"),
        pytest.param([0, 1, 1], [1, 9, 11], [1, 2, 2], id="nothing expires before"),
        pytest.param([1, 1, 9], [2, 4, 20], [1, 1, 1], id="more is asked for than expires"),
        pytest.param([0, 0, 0], [1, 2, 3], [1, 2, 3], id="nothing expires"),
    ],
)
def test_the_day_that_decides_is_the_one_that_most_is_too_much_for(
    expiring: list[float], expected: list[float], days: list[int]
) -> None:
    others = np.array([expiring, [0, 0, 0], [7, 7, 7]], dtype=np.float64)
    found = deciding_days(others, np.array([expected, [1, 1, 1], [1, 2, 3]], dtype=np.float64))
    assert found.tolist() == [days, [1, 2, 3], [1, 1, 1]]


def risk_words(**changes: Any) -> list[str]:
    """Explain one risk: twelve are held, all of which expire tomorrow."""
    values: dict[str, Any] = {
        "held": 12.0,
        "expiring": 12.0,
        "days": 1,
        "expected": 4.5,
        "wasted_share": 3 / 28,
        "leans": 0.0,
        "thin": "",
        **changes,
    }
    arrays = {name: np.array([value]) for name, value in values.items()}
    return str(risk_reasons(**arrays, moved=[])[0]).split("; ")


@pytest.mark.parametrize(
    ("held", "expiring", "days", "said"),
    [
        (12, 12, 1, "12 of 12 held expire tomorrow"),
        (12, 12, 2, "12 of 12 held expire within 2 days"),
        (12, 1, 1, "1 of 12 held expires tomorrow"),
        (1, 1, 3, "1 of 1 held expires within 3 days"),
        (5, 0, 2, "0 of 5 held expire within 2 days"),
    ],
)
def test_a_risk_says_how_many_expire_by_the_day_that_decides(
    held: float, expiring: float, days: int, said: str
) -> None:
    words = risk_words(held=float(held), expiring=float(expiring), days=days)
    assert words[:2] == [said, "4.5 expected to be asked for by then"]


class Usual:
    """Stand in for trees: of any day they expect what is usual, moved by what a test says."""

    levels = (0.25, 0.5, 0.75)

    def __init__(self, **effects: float) -> None:
        self.effects = effects

    def expected(self, features: Features) -> Floats:
        """Return units (S, K)."""
        return features.level

    def predict(self, features: Features) -> Floats:
        """Return quantiles (S, K, Q)."""
        return features.level[:, :, None] * np.array([0.5, 1.0, 1.5])

    def contributions(self, features: Features) -> Floats:
        """Return contributions (S, K, F)."""
        each = np.array([self.effects.get(name, 0.0) for name in features.names])
        return np.asarray(np.broadcast_to(each, features.values.shape))


def learned(**effects: float) -> Learned:
    """Return a model that says what is usual, for the given reasons."""
    risk = RiskModel(NAMES, "", Calibration("none", (), ()), 1.0)
    return Learned(cast("Any", Usual(**effects)), risk, 5, {})


@pytest.fixture(scope="module")
def panel(network: Any) -> Panel:
    return read_panel(network.days, network.pairs)


@pytest.fixture(scope="module")
def surroundings(network: Any, panel: Panel) -> Surroundings:
    known = around(network)
    return read_surroundings(panel, known, 10, name_codes(known))


def test_stock_that_expires_tomorrow_is_named_so_at_every_horizon(
    network: Any, panel: Panel, surroundings: Surroundings
) -> None:
    life, horizon = shelf_lives(panel, network.items), 4
    held = np.arange(3.0, panel.size + 3)
    expiring = np.repeat(held[:, None], horizon, axis=1)
    # of every other pair, all but one expire on the day after
    expiring[::2, 0] = 0
    expiring[::2, 1:] -= 1
    risks = score_risks(learned(), panel, surroundings, life, held, expiring)
    for row, units in enumerate(held):
        told = [str(reasons).split("; ")[0] for reasons in risks.reasons[row]]
        if row % 2:
            assert told == [f"{units:g} of {units:g} held expire tomorrow"] * horizon
        else:
            assert told[0] == f"0 of {units:g} held expire tomorrow"
            later = f"{units - 1:g} of {units:g} held expire within 2 days"
            assert told[1:] == [later] * (horizon - 1)
