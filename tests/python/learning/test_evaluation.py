"""Evaluation: every metric beside its baselines, and nothing learned from what is tested."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from larder.learning import evaluation
from larder.learning.evaluation import evaluate_orders, evaluate_waste
from larder.learning.metrics import PINBALL_LEVELS
from larder.learning.orders import Costs
from larder.learning.panel import read_panel, shelf_lives
from larder.learning.waste import fit_waste_rates


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
        for metric in (*PINBALL_LEVELS, "coverage_p90", "decision_cost", "prescriptiveness")
        for name in ("plain_weekday_quantile", "last_week_same_day")
    }
    assert len({row.observations for row in waste}) == 1
    assert all(np.isfinite([row.value, row.baseline_value]).all() for row in waste + orders)
    for row in waste + orders:
        assert row.value_low <= row.value_high
        assert row.difference_low <= row.difference_high
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
        rows, found = original(*args)
        seen.append(found)
        return rows, found

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
