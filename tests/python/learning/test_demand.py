"""Demand: the product-limit estimate against brute force, censoring, kin, and no look ahead."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from larder.learning.demand import (
    KIN_WEIGHT,
    WEEKS,
    demand_distributions,
    grouped_quantiles,
    levels,
    product_limit,
    same_weekday_windows,
    weighted_quantile,
)
from larder.learning.panel import Panel, read_panel

OBSERVATION = st.tuples(st.integers(0, 6), st.booleans(), st.sampled_from([0.0, 0.4, 1.0]))
SERIES = st.lists(OBSERVATION, min_size=1, max_size=9)


def by_hand(observations: list[tuple[int, bool, float]]) -> dict[int, float]:
    """Estimate the distribution as in Kaplan and Meier's paper, one distinct value at a time."""
    known = [(units, censored, weight) for units, censored, weight in observations if weight > 0]
    survival, answer = 1.0, {}
    for value in sorted({units for units, _, _ in known}):
        at_risk = sum(weight for units, _, weight in known if units >= value)
        events = sum(weight for units, cut, weight in known if units == value and not cut)
        answer[value] = survival * events / at_risk
        survival *= 1 - events / at_risk
    if answer:
        answer[max(answer)] += survival
    return answer


def arrays(observations: list[tuple[int, bool, float]]) -> tuple[Any, Any, Any]:
    units, censored, weight = zip(*observations, strict=True)
    return (
        np.array([units], dtype=np.float64),
        np.array([censored], dtype=np.bool_),
        np.array([weight], dtype=np.float64),
    )


@given(SERIES)
@settings(max_examples=150, deadline=None)
def test_product_limit_equals_the_textbook(observations: list[tuple[int, bool, float]]) -> None:
    units, mass = product_limit(*arrays(observations))
    found: dict[int, float] = {}
    for value, part in zip(units[0], mass[0], strict=True):
        found[int(value)] = found.get(int(value), 0.0) + part
    expected = by_hand(observations)
    assert {k: v for k, v in found.items() if v > 1e-12} == pytest.approx(
        {k: v for k, v in expected.items() if v > 1e-12}
    )


@given(SERIES, st.floats(0.01, 0.99))
@settings(max_examples=150, deadline=None)
def test_censoring_never_lowers_a_quantile(
    observations: list[tuple[int, bool, float]], level: float
) -> None:
    units, censored, weight = arrays(observations)
    aware = weighted_quantile(*product_limit(units, censored, weight), level)
    naive = weighted_quantile(*product_limit(units, np.zeros_like(censored), weight), level)
    assert aware[0] >= naive[0]


def test_without_censoring_it_is_the_plain_quantile() -> None:
    values = np.array([[3.0, 1.0, 7.0, 5.0, 2.0, 2.0, 9.0, 4.0]])
    units, mass = product_limit(values, values < 0, np.ones_like(values))
    for level in (0.1, 0.125, 0.5, 0.9, 1.0):
        expected = np.quantile(values, level, method="inverted_cdf")
        assert weighted_quantile(units, mass, level)[0] == expected


def test_rows_without_observations_ask_for_nothing() -> None:
    nothing = np.zeros((2, 3))
    units, mass = product_limit(nothing, nothing > 0, nothing)
    assert mass.sum() == 0
    assert weighted_quantile(units, mass, 0.9).tolist() == [0, 0]


@given(st.lists(st.tuples(st.integers(0, 3), OBSERVATION), min_size=1, max_size=30))
@settings(max_examples=100, deadline=None)
def test_grouped_quantiles_equal_one_group_at_a_time(rows: list[tuple[int, Any]]) -> None:
    _, groups = np.unique([group for group, _ in rows], return_inverse=True)
    units = np.array([row[0] for _, row in rows], dtype=np.float64)
    censored = np.array([row[1] for _, row in rows], dtype=np.bool_)
    points = np.array([0.05, 0.35, 0.65, 0.95])
    found = grouped_quantiles(units, censored, groups.astype(np.int64), points)
    for group in range(groups.max() + 1):
        at = groups == group
        one = product_limit(units[None, at], censored[None, at], np.ones((1, at.sum())))
        assert found[group].tolist() == [weighted_quantile(*one, point)[0] for point in points]


def test_windows_are_the_same_weekdays_and_lie_in_the_past(network: Any) -> None:
    panel = read_panel(network.days, network.pairs)
    rows = np.arange(panel.size)
    for ahead, cover in ((1, 1), (2, 3), (9, 2), (1, 7)):
        windows = same_weekday_windows(
            panel, rows, np.full(panel.size, ahead), np.full(panel.size, cover)
        )
        nearest = next(k for k in range(1, 9) if ahead - 7 * k + cover - 1 <= 0)
        for week in range(WEEKS):
            start = panel.width - 1 + ahead - 7 * (nearest + week)
            expected = panel.sold[:, start : start + cover].sum(axis=1)
            assert (windows.units[:, week] == expected).all()
            out = panel.stocked_out[:, start : start + cover].any(axis=1)
            assert (windows.censored[:, week] == out).all()


def forecast(panel: Panel, rows: Any, items: Any) -> Any:
    ones = np.ones(len(rows), dtype=np.int64)
    return demand_distributions(panel, np.asarray(rows), np.asarray(items), ones, ones)[0]


def test_quantiles_do_not_cross_and_mass_is_one(network: Any) -> None:
    panel = read_panel(network.days, network.pairs)
    demand = forecast(panel, np.arange(panel.size), panel.item_codes)
    quantiles = np.stack([demand.quantile(level) for level in (0.1, 0.5, 0.8, 0.9, 0.99)])
    assert (np.diff(quantiles, axis=0) >= 0).all()
    assert demand.mass.sum(axis=1) == pytest.approx(1)


def test_a_pair_without_history_takes_its_item_and_an_unknown_item_that_of_all(
    network: Any,
) -> None:
    panel = read_panel(network.days, network.pairs)
    item = np.array([2, -1])
    nobody = np.array([-1, -1])
    level = levels(panel, nobody, item)
    recent = panel.columns(panel.width - 56, panel.width)
    sold, open_days = recent.sold.sum(), recent.available.sum()
    assert level[1] == pytest.approx(sold / open_days)
    own = panel.item_codes == 2
    item_rate = recent.sold[own].sum() / recent.available[own].sum()
    assert level[0] == pytest.approx(item_rate, rel=0.05)
    # somebody else must be there to lean on
    rows = np.append(np.arange(panel.size), nobody)
    demand = forecast(panel, rows, np.append(panel.item_codes, item))
    assert (demand.own_days[-2:] == 0).all()
    assert (demand.quantile(0.9)[-2:] >= 1).all()


def test_with_much_history_a_level_is_the_pairs_own() -> None:
    width = 56
    panel = Panel(
        location_ids=np.array(["a", "b"], dtype=object),
        item_ids=np.array(["x", "x"], dtype=object),
        location_codes=np.array([0, 1]),
        item_codes=np.array([0, 0]),
        as_of=np.full(2, np.datetime64("2025-01-01", "D")),
        restocked=np.zeros((2, width)),
        sold=np.stack([np.full(width, 10.0), np.full(width, 2.0)]),
        discarded=np.zeros((2, width)),
        missing=np.zeros((2, width)),
        closing=np.ones((2, width)),
        available=np.ones((2, width)),
        stocked_out=np.zeros((2, width), dtype=np.bool_),
        observed=np.ones((2, width), dtype=np.bool_),
    )
    high, low = levels(panel, np.array([0, 1]), np.array([0, 0]))
    assert 9 < high < 10
    assert 2 < low < 3
    demand = forecast(panel, [0, 1], [0, 0])
    assert demand.quantile(0.5).tolist() == [10, 2]
    assert demand.own_days.tolist() == [WEEKS, WEEKS]
    assert KIN_WEIGHT < WEEKS


def test_censored_demand_is_found_again(network: Any) -> None:
    """The estimate lies above the sales, which were cut at three, and not above the demand."""
    days = network.days.copy()
    cut = np.minimum(days["sold_units"], 3)
    days["is_stocked_out"] = days["sold_units"] >= 3
    true = read_panel(days, network.pairs).sold
    days["sold_units"] = cut
    days["stocked_out_minutes"] = np.where(days["is_stocked_out"], 300, 0)
    panel = read_panel(days, network.pairs)
    demand = forecast(panel, np.arange(panel.size), panel.item_codes)
    estimate = (demand.units * demand.mass).sum(axis=1).mean()
    weekday = slice(panel.width - 56, panel.width, 7)
    assert panel.sold[:, weekday].mean() * 1.05 < estimate < true[:, weekday].mean() * 1.2
