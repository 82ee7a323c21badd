"""Evaluation: metrics against brute force, and nothing learned from what is tested."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from larder.learning import evaluation
from larder.learning.evaluation import (
    brier,
    brier_skill,
    decision_cost,
    evaluate_orders,
    evaluate_waste,
    expected_calibration_error,
    log_loss,
    pinball,
    prescriptiveness,
)
from larder.learning.orders import Costs
from larder.learning.panel import read_panel, shelf_lives
from larder.learning.waste import fit_waste_rates


def test_metrics_equal_their_formulas() -> None:
    chance, outcome = np.array([0.1, 0.8, 0.5]), np.array([0.0, 1.0, 1.0])
    assert brier(chance, outcome) == pytest.approx((0.01 + 0.04 + 0.25) / 3)
    assert brier_skill(chance, outcome, np.full(3, 0.5)) == pytest.approx(1 - 0.1 / 0.25)
    assert log_loss(chance, outcome) == pytest.approx(-np.log([0.9, 0.8, 0.5]).mean())
    assert log_loss(np.zeros(1), np.ones(1)) < 14
    forecast, actual = np.array([2.0, 5.0]), np.array([4.0, 1.0])
    assert pinball(forecast, actual, 0.9) == pytest.approx((0.9 * 2 + 0.1 * 4) / 2)
    costs = Costs(np.array([3.0, 3.0]), np.array([1.0, 2.0]))
    assert decision_cost(forecast, actual, costs) == pytest.approx((3 * 2 + 2 * 4) / 2)
    assert prescriptiveness(2.0, 8.0) == 0.75
    assert prescriptiveness(1.0, 0.0) == 0.0


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


def test_every_metric_has_its_baselines(network: Any) -> None:
    panel = read_panel(network.days, network.pairs)
    life = shelf_lives(panel, network.items)
    costs = Costs(np.full(panel.size, 2.0), np.full(panel.size, 1.0))
    waste, orders = evaluate_waste(panel, life), evaluate_orders(panel, life, costs)
    assert {(row.metric, row.baseline_name) for row in waste} == {
        (metric, name)
        for metric in ("brier", "brier_skill", "log_loss", "ece")
        for name in ("global_rate", "pair_raw_rate")
    }
    assert {(row.metric, row.baseline_name) for row in orders} == {
        (metric, name)
        for metric in (*evaluation.LEVELS, "coverage_p90", "decision_cost", "prescriptiveness")
        for name in ("plain_weekday_quantile", "last_week_same_day")
    }
    assert len({row.observations for row in waste}) == 1
    assert all(np.isfinite([row.value, row.baseline_value]).all() for row in waste + orders)
    value = {(row.metric, row.baseline_name): row for row in waste + orders}
    # on a simulated network the ranking is known
    assert value["brier", "global_rate"].value < value["brier", "global_rate"].baseline_value
    cost = value["decision_cost", "last_week_same_day"]
    assert cost.value < cost.baseline_value


def test_what_is_tested_teaches_nothing(network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forecasts of a block stay when its days, and those of its embargo, change."""
    panel = read_panel(network.days, network.pairs)
    life = shelf_lives(panel, network.items)
    monkeypatch.setattr(evaluation, "BLOCKS", 1)
    (start, train), *_ = evaluation._blocks(panel, life)
    assert start == panel.width - 7
    assert train.width == start - life.max()
    rng = np.random.default_rng(2)
    sold = panel.sold.copy()
    sold[:, train.width :] = rng.integers(0, 50, (panel.size, panel.width - train.width))
    other = type(panel)(**{**vars(panel), "sold": sold})
    before = fit_waste_rates(train, life)
    after = fit_waste_rates(next(evaluation._blocks(other, life))[1], life)
    assert (before.probability == after.probability).all()
    seen: list[Any] = []
    original = evaluation._day_forecasts

    def watched(*args: Any) -> Any:
        seen.append(original(*args))
        return seen[-1]

    monkeypatch.setattr(evaluation, "_day_forecasts", watched)
    costs = Costs(np.full(panel.size, 2.0), np.full(panel.size, 1.0))
    evaluate_orders(panel, life, costs)
    evaluate_orders(other, life, costs)
    for one, two in zip(seen[:7], seen[7:], strict=True):
        for name in (
            "model_pinball_p90",
            "model_order",
            "order_average",
            "last_week_same_day_order",
        ):
            assert (one[name] == two[name]).all()


@pytest.mark.parametrize("width", [1, 7, 12, 20])
def test_too_little_history_is_not_evaluated_or_is_finite(network: Any, width: int) -> None:
    days = network.days[network.days["days_ago"] < width]
    panel = read_panel(days, network.pairs)
    life = shelf_lives(panel, network.items)
    costs = Costs(np.full(panel.size, 2.0), np.full(panel.size, 1.0))
    results = evaluate_waste(panel, life) + evaluate_orders(panel, life, costs)
    assert bool(results) == (width == 20)
    assert all(np.isfinite([row.value, row.baseline_value]).all() for row in results)
