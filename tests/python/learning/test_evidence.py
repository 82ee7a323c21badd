"""The frames behind the report: they say of a simulated past what really happened in it."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import PAST_DAYS, REPLAYED_FROM, Past

from larder.learning import evidence
from larder.learning.backtest import Backtest, ReplayedDays, backtest, replayed_days
from larder.learning.challenge import RipeRisks, ripe_risks
from larder.learning.metrics import brier


@pytest.fixture(scope="module")
def replayed(past: Past) -> ReplayedDays:
    return replayed_days(past.learned, past.panel, past.surroundings, past.terms, REPLAYED_FROM)


@pytest.fixture(scope="module")
def found(past: Past, replayed: ReplayedDays) -> Backtest:
    return backtest(replayed, past.demand[:, REPLAYED_FROM:])


@pytest.fixture(scope="module")
def risks(past: Past) -> RipeRisks:
    life = past.terms.shelf_life_days
    return ripe_risks(
        past.learned, past.panel, past.surroundings, life, REPLAYED_FROM, REPLAYED_FROM - 1
    )


def test_risks_are_those_of_the_replayed_days_that_came_true(past: Past, risks: RipeRisks) -> None:
    assert risks.column.min() == REPLAYED_FROM - 1
    # of the last close nobody knows yet what came of it
    assert risks.column.max() == PAST_DAYS - 2
    assert (past.panel.closing[risks.pair, risks.column] > 0).all()
    assert set(np.unique(risks.happened)) == {0.0, 1.0}


def test_reliability_adds_up_to_all_cases(risks: RipeRisks) -> None:
    cells = evidence.reliability_of(risks, {"model": "learned", "global_rate": "one rate"})
    learned = cells[cells["score"] == "learned"]
    assert learned["cases"].sum() == len(risks.happened)
    weights = learned["cases"] / learned["cases"].sum()
    assert (learned["happened"] * weights).sum() == pytest.approx(risks.happened.mean())
    assert (learned["said"] * weights).sum() == pytest.approx(risks.probability.mean())
    assert learned["said"].is_monotonic_increasing
    assert (learned["low"] <= learned["happened"]).all()
    assert (learned["happened"] <= learned["high"]).all()


def test_weeks_and_parts_add_up_to_the_whole(
    found: Backtest, replayed: ReplayedDays, past: Past
) -> None:
    weeks = evidence.sides_by_week(found, np.datetime64("2025-04-11"))
    # the last 14 of 20 days, in whole weeks
    assert weeks["week"].dt.strftime("%m-%d").tolist() == ["04-17", "04-24"] * 2
    plan = weeks[weeks["series"] == "with the plan"]
    last = found.plan.days(slice(13, 20))
    assert plan["fill_rate"].iloc[-1] == pytest.approx(
        last.sold.sum() / (last.sold.sum() + last.missed.sum())
    )
    parts = dict(evidence.cost_parts(found.plan, past.terms.costs))
    assert sum(parts.values()) == pytest.approx(found.plan.cost(past.terms.costs).mean())
    worst = evidence.worst_series(found, replayed)
    assert worst["cost"].is_monotonic_decreasing
    assert worst["cost"].iloc[0] == pytest.approx(found.plan.cost(past.terms.costs).max())


def test_more_service_wastes_more_and_misses_less(
    replayed: ReplayedDays, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "ORDER_LEVELS", (0.1, 0.6, 0.95))
    wanted = replayed.draw_demand(seed=0)
    levels = evidence.costs_of_levels(replayed, wanted)
    costs = levels.pivot(index="level", columns="part", values="cost")
    assert costs.index.tolist() == list(evidence.ORDER_LEVELS)
    assert costs["waste"].iloc[-1] > costs["waste"].iloc[0]
    assert costs["missed sales"].iloc[-1] < costs["missed sales"].iloc[0]
    # what things cost here asks for this level of everything: the plan itself, on the same demand
    plan = backtest(replayed, wanted).plan
    assert dict(evidence.cost_parts(plan, replayed.terms.costs)) == costs.loc[0.6].to_dict()
    # the extremes are worse than what lies between: the newsvendor's valley
    total = costs.sum(axis=1)
    assert total.min() < min(total.iloc[0], total.iloc[-1])


def test_drift_is_followed_week_by_week(
    past: Past, risks: RipeRisks, replayed: ReplayedDays
) -> None:
    weeks = evidence.drift_by_week(past.learned, risks, replayed, past.surroundings)
    assert weeks["measure"].value_counts().to_dict() == {"brier": 4, "coverage": 4, "drifting": 2}
    learned = weeks[(weeks["measure"] == "brier") & ~weeks["is_yardstick"]]
    last = risks.column >= PAST_DAYS - 8
    expected = brier(risks.probability[last], risks.happened[last])
    assert learned["value"].iloc[-1] == pytest.approx(expected)
    coverage = weeks[(weeks["measure"] == "coverage") & ~weeks["is_yardstick"]]
    assert coverage["value"].between(0.7, 1).all()
