"""Drift: the index by hand, silent while things stay as they were, heard when they change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from larder.learning.features import Surroundings
from larder.learning.panel import Panel, read_panel
from larder.learning.stability import reference, stability, stability_index
from larder.learning.surroundings import Known, name_codes, read_surroundings

LEARNED_DAYS = 112


def test_the_index_equals_its_formula() -> None:
    was, is_now = np.array([0.5, 0.3, 0.2]), np.array([0.4, 0.3, 0.3])
    expected = (0.4 - 0.5) * np.log(0.8) + (0.3 - 0.2) * np.log(1.5)
    assert stability_index(was, is_now) == pytest.approx(expected)
    assert stability_index(was, was) == 0
    # what was never seen counts, and is not infinite
    assert 0.5 < stability_index(np.array([1.0, 0.0]), np.array([0.9, 0.1])) < 1


@pytest.fixture(scope="module")
def known(grown: Any) -> tuple[Panel, Surroundings]:
    panel = read_panel(grown.days, grown.pairs)
    around = Known(grown.pairs, grown.calendar, grown.promotions, grown.trends)
    return panel, read_surroundings(panel, around, 1, name_codes(around))


def test_nothing_rings_while_demand_goes_on_as_it_was(known: tuple[Panel, Surroundings]) -> None:
    panel, around = known
    signals = list(stability(reference(panel.until(LEARNED_DAYS - 1), around, 28), panel, around))
    names = [one.signal for one in signals]
    assert "psi_ratio_mean_7_days" in names
    assert not any("holiday" in name or name == "weekday" or "promoted" in name for name in names)
    assert not [one for one in signals if one.is_alarm]
    assert all(one.threshold >= 0.25 and one.value < one.threshold for one in signals)


def test_demand_that_doubles_rings(known: tuple[Panel, Surroundings]) -> None:
    panel, around = known
    expected = reference(panel.until(LEARNED_DAYS - 1), around, 28)
    sold = panel.sold.copy()
    sold[:, LEARNED_DAYS:] *= 2
    ringing = {
        one.signal for one in stability(expected, replace(panel, sold=sold), around) if one.is_alarm
    }
    assert "psi_item_ratio_mean_7_days" in ringing


def test_too_few_days_ring_nothing(known: tuple[Panel, Surroundings]) -> None:
    panel, around = known
    expected = reference(panel.until(LEARNED_DAYS - 1), around, 28)
    nobody = replace(panel, observed=np.zeros_like(panel.observed))
    signals = list(stability(expected, nobody, around))
    assert all(np.isnan(one.value) and not one.is_alarm for one in signals)
    assert {one.observations for one in signals} == {0}
