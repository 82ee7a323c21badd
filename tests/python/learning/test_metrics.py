"""Metrics against their formulas, and intervals against what they promise."""

from __future__ import annotations

import numpy as np
import pytest

from larder.learning.metrics import (
    Resamples,
    brier,
    brier_skill,
    decision_cost,
    expected_calibration_error,
    log_losses,
    pinball,
    skill_score,
    waste_results,
)
from larder.learning.orders import Costs


def test_metrics_equal_their_formulas() -> None:
    chance, outcome = np.array([0.1, 0.8, 0.5]), np.array([0.0, 1.0, 1.0])
    assert brier(chance, outcome) == pytest.approx((0.01 + 0.04 + 0.25) / 3)
    assert brier_skill(chance, outcome, np.full(3, 0.5)) == pytest.approx(1 - 0.1 / 0.25)
    assert log_losses(chance, outcome).mean() == pytest.approx(-np.log([0.9, 0.8, 0.5]).mean())
    assert log_losses(np.zeros(1), np.ones(1))[0] < 14
    forecast, actual = np.array([2.0, 5.0]), np.array([4.0, 1.0])
    assert pinball(forecast, actual, 0.9) == pytest.approx((0.9 * 2 + 0.1 * 4) / 2)
    costs = Costs(np.array([3.0, 3.0]), np.array([1.0, 2.0]))
    assert decision_cost(forecast, actual, costs) == pytest.approx((3 * 2 + 2 * 4) / 2)
    assert skill_score(2.0, 8.0) == 0.75
    assert skill_score(1.0, 0.0) == 0.0


def test_calibration_error_is_small_when_calibrated_and_ignores_order() -> None:
    rng = np.random.default_rng(3)
    chance = np.round(rng.uniform(size=20_000), 2)
    outcome = (rng.uniform(size=20_000) < chance).astype(np.float64)
    error = expected_calibration_error(chance, outcome)
    assert error < 0.02
    mixed = rng.permutation(20_000)
    assert expected_calibration_error(chance[mixed], outcome[mixed]) == pytest.approx(error)
    assert expected_calibration_error(chance, 1 - outcome) > 0.4
    assert expected_calibration_error(np.full(10, 0.3), np.zeros(10)) == pytest.approx(0.3)


def test_a_resample_repeats_whole_series() -> None:
    """As if the rows of each drawn series had been written down so often as it was drawn."""
    rng = np.random.default_rng(4)
    series, values = rng.integers(10, 15, 200), rng.uniform(size=200)
    resamples = Resamples(series, resamples=20, seed=1)
    total, count = resamples.sum(values), resamples.sum(np.ones(200))
    assert total[0] == pytest.approx(values.sum())
    for number, weights in enumerate(resamples.weights):
        repeated = np.repeat(np.arange(200), weights[series - 10].astype(int))
        assert total[number] == pytest.approx(values[repeated].sum())
        assert count[number] == len(repeated)
    assert (resamples.weights.sum(axis=1) == 5).all()


def test_intervals_hold_what_they_promise_though_series_differ() -> None:
    """Of 200 samples of 40 series, about nine in ten intervals hold the mean of all series."""
    rng = np.random.default_rng(8)
    held = 0
    for seed in range(200):
        series = np.repeat(np.arange(40), 30)
        values = rng.normal(0, 1, 40)[series] + rng.normal(0, 0.3, series.size)
        resamples = Resamples(series, seed=seed)
        low, high = resamples.interval(resamples.mean(values))
        held += low <= 0 <= high
    assert 168 <= held <= 192


def test_a_clear_difference_has_an_interval_that_says_so() -> None:
    rng = np.random.default_rng(6)
    chance = rng.uniform(size=4_000)
    outcome = (rng.uniform(size=4_000) < chance).astype(np.float64)
    series = rng.integers(0, 60, 4_000)
    found = {
        row.metric: row
        for row in waste_results(chance, {"rate": np.full(4_000, 0.5)}, outcome, series)
    }
    score = found["brier"]
    assert score.value == pytest.approx(brier(chance, outcome))
    assert score.value_low < score.value < score.value_high
    assert score.difference_high < 0 < found["brier_skill"].difference_low
    assert found["ece"].value == pytest.approx(expected_calibration_error(chance, outcome))
    alone = next(waste_results(chance, {"rate": chance}, outcome, np.zeros(4_000, dtype=np.int64)))
    assert np.isnan([alone.value_low, alone.difference_high]).all()
    nobody = Resamples(np.zeros(0, dtype=np.int64))
    assert np.isnan(nobody.interval(nobody.sum(np.zeros(0)))).all()
    same = next(waste_results(chance, {"rate": chance}, outcome, series))
    assert (same.difference_low, same.difference_high) == (0.0, 0.0)
