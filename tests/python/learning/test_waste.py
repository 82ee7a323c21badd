"""Waste: labels against a unit-by-unit replay, shrinkage at its limits, coherent risks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from larder.learning.panel import Panel, read_panel, shelf_lives
from larder.learning.waste import (
    STRENGTHS,
    fit_waste_rates,
    held_outcomes,
    hierarchical_rates,
    log_gamma,
    prior_strength,
    shrink,
    waste_risks,
)

DAY = st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 3), st.integers(-1, 1))


def one_pair(
    restocked: list[int], sold: list[int], discarded: list[int], adjusted: list[int]
) -> Any:
    """Replay a pair unit by unit, first in, first out; also say who was discarded when."""
    stock: list[int] = []
    closings, fates, kept = [], [], []
    for day, (arrived, wanted, thrown, found) in enumerate(
        zip(restocked, sold, discarded, adjusted, strict=True)
    ):
        stock += [day] * arrived
        taken = min(wanted, len(stock))
        missing = min(max(-found, 0), len(stock) - taken)
        stock = stock[taken + missing :]
        gone = min(thrown, len(stock))
        fates.append(stock[:gone])
        stock = stock[gone:] + [day] * max(found, 0)
        closings.append(len(stock))
        kept.append((taken, gone, max(found, 0) - missing))
    return closings, fates, kept


@given(st.lists(DAY, min_size=2, max_size=12))
@settings(max_examples=200, deadline=None)
def test_labels_equal_a_replay_unit_by_unit(history: list[tuple[int, int, int, int]]) -> None:
    closings, fates, kept = one_pair(*[[day[k] for day in history] for k in range(4)])
    width = len(history)
    panel = Panel(
        location_ids=np.array(["a"], dtype=object),
        item_ids=np.array(["x"], dtype=object),
        location_codes=np.zeros(1, dtype=np.int64),
        item_codes=np.zeros(1, dtype=np.int64),
        as_of=np.full(1, np.datetime64("2025-01-01", "D")),
        restocked=np.zeros((1, width)),
        sold=np.array([[taken for taken, _, _ in kept]], dtype=np.float64),
        discarded=np.array([[gone for _, gone, _ in kept]], dtype=np.float64),
        missing=np.array([[max(-found, 0) for _, _, found in kept]], dtype=np.float64),
        closing=np.array([closings], dtype=np.float64),
        available=np.ones((1, width)),
        stocked_out=np.zeros((1, width), dtype=np.bool_),
        observed=np.ones((1, width), dtype=np.bool_),
    )
    for horizon, wasted, known in held_outcomes(panel, 5):
        for origin in range(width - horizon):
            later = [unit for day in fates[origin + 1 : origin + horizon + 1] for unit in day]
            assert wasted[0, origin] == sum(arrived <= origin for arrived in later)
            assert known[0, origin] == (closings[origin] > 0)


def test_log_gamma_equals_the_library() -> None:
    values = np.array([1e-7, 0.01, 0.5, 1.0, 2.5, 8.0, 100.0, 1e5])
    assert log_gamma(values) == pytest.approx([math.lgamma(value) for value in values], abs=1e-9)


@given(st.floats(0, 1), st.floats(0.5, 2000), st.floats(0, 1))
def test_shrinkage_has_the_right_limits(own: float, strength: float, parent: float) -> None:
    mean = np.array([parent])
    nothing = shrink(np.zeros(1), np.zeros(1), mean, strength)
    plenty = shrink(np.array([own * 1e9]), np.array([1e9]), mean, strength)
    some = shrink(np.array([own * 20]), np.array([20.0]), mean, strength)
    assert nothing[0] == pytest.approx(parent)
    assert plenty[0] == pytest.approx(own, abs=1e-5)
    assert min(own, parent) - 1e-9 <= some[0] <= max(own, parent) + 1e-9


def test_strength_is_high_when_groups_agree_and_low_when_they_do_not() -> None:
    rng = np.random.default_rng(4)
    trials = np.full(300, 100.0)
    mean = np.full(300, 0.3)
    alike = rng.binomial(100, 0.3, 300).astype(np.float64)
    apart = rng.binomial(100, rng.beta(0.6, 1.4, 300)).astype(np.float64)
    assert prior_strength(alike, trials, mean) > 200
    assert 1 < prior_strength(apart, trials, mean) < 4
    assert prior_strength(np.zeros(2), np.zeros(2), mean[:2]) == STRENGTHS[-1]


def test_a_pair_without_days_takes_its_item_and_location() -> None:
    rng = np.random.default_rng(9)
    locations, items = (part.ravel() for part in np.meshgrid(range(20), range(10), indexing="ij"))
    true = 1 / (1 + np.exp(-(-1 + 0.15 * (locations - 10) + 0.3 * (items - 5))))
    trials = np.full(200, 150.0)
    trials[-1] = 0
    successes = rng.binomial(trials.astype(int), true).astype(np.float64)
    rates, overall, _ = hierarchical_rates(successes, trials, locations, items)
    assert abs(rates[-1] - true[-1]) < 0.12 < abs(overall - true[-1])
    assert np.abs(rates - true).mean() < np.abs(successes[:-1] / trials[:-1] - true[:-1]).mean()


def test_risks_are_coherent(network: Any) -> None:
    panel = read_panel(network.days, network.pairs)
    life = shelf_lives(panel, network.items)
    rates = fit_waste_rates(panel, life)
    held = np.where(np.arange(panel.size) % 3 == 0, 0.0, panel.closing[:, -1] + 1)
    probability, expected = waste_risks(rates, held)
    assert ((probability >= 0) & (probability <= 1)).all()
    assert (np.diff(probability, axis=1) >= 0).all()
    assert (np.diff(expected, axis=1) >= 0).all()
    assert (probability[held == 0] == 0).all()
    assert (expected[held == 0] == 0).all()
    assert (expected >= probability - 1e-12).all()
    assert (expected <= probability * held[:, None] + 1e-12).all()


def test_a_history_of_one_day_is_still_scored(network: Any) -> None:
    days = network.days[network.days["days_ago"] == 0]
    panel = read_panel(days, network.pairs)
    rates = fit_waste_rates(panel, shelf_lives(panel, network.items))
    assert (rates.probability == 0.5).all()
    assert (rates.held_days == 0).all()
