"""Replays: nothing appears or disappears, nothing is sold too late, no policy sees the future."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from larder.learning.frames import Bools, Floats, Ints
from larder.learning.orders import Costs
from larder.learning.replay import Outcome, replay, saving_interval

DAYS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.booleans()), max_size=10)


def interval(saved: Floats, places: Ints, **other: Any) -> tuple[float, float, float]:
    """Return the total and the ends of its interval."""
    found = saving_interval(saved, places, **other)
    return found.total, found.low, found.high


def up_to(target: float) -> Callable[[int, Floats], Floats]:
    """Order what is missing to so many units."""
    return lambda _, lots: np.maximum(target - lots.sum(axis=1), 0.0)


def some_days(pairs: int = 8, days: int = 60) -> tuple[Floats, Floats, Ints, Bools]:
    """Draw what is wanted, what is held, shelf lives of 1 to 4 days, and when lorries come."""
    rng = np.random.default_rng(6)
    life: Ints = 1 + np.arange(pairs, dtype=np.int64) % 4
    lots = rng.integers(0, 3, (pairs, 4)) * (np.arange(4) < life[:, None])
    wanted = rng.poisson(3, (pairs, days)).astype(np.float64)
    return wanted, lots.astype(np.float64), life, rng.random((pairs, days)) < 0.7


@given(DAYS, st.integers(1, 4), st.lists(st.integers(0, 3), min_size=4, max_size=4))
@settings(max_examples=100, deadline=None)
def test_it_equals_a_replay_unit_by_unit(
    days: list[tuple[int, int, bool]], life: int, held: list[int]
) -> None:
    stock = [day for day, units in enumerate(held) for _ in range(units)]
    expected = []
    for day, (ordered, wanted, comes) in enumerate(days):
        stock = sorted(stock + [day + life - 1] * (ordered if comes else 0))
        sold, stock = stock[:wanted], stock[wanted:]
        assert all(last >= day for last in sold)
        wasted = sum(last == day for last in stock)
        stock = stock[wasted:]
        expected.append([ordered if comes else 0, len(sold), wanted - len(sold), wasted])
    outcome = replay(
        np.array([[wanted for _, wanted, _ in days]], dtype=np.float64),
        np.array([held], dtype=np.float64),
        np.array([life]),
        np.array([[comes for _, _, comes in days]], dtype=np.bool_),
        lambda day, _: np.array([float(days[day][0])]),
    )
    found = (outcome.ordered, outcome.sold, outcome.missed, outcome.wasted)
    assert [part[0].tolist() for part in found] == [
        [row[number] for row in expected] for number in range(4)
    ]


def test_nothing_appears_or_disappears_and_a_policy_sees_the_lots() -> None:
    wanted, lots, life, delivers = some_days()
    seen: list[Floats] = []

    def policy(_: int, held: Floats) -> Floats:
        seen.append(held.copy())
        return up_to(5)(0, held)

    outcome = replay(wanted, lots, life, delivers, policy)
    # at the close of each day but the last, whose lots nobody is shown
    came, went = (
        np.cumsum(part, axis=1) for part in (outcome.ordered, outcome.sold + outcome.wasted)
    )
    left = np.stack([held.sum(axis=1) for held in seen[1:]], axis=1)
    np.testing.assert_allclose(lots.sum(axis=1)[:, None] + (came - went)[:, :-1], left)
    np.testing.assert_array_equal(outcome.sold + outcome.missed, wanted)
    np.testing.assert_array_equal(seen[0], lots)
    assert (outcome.ordered[~delivers] == 0).all()
    assert (outcome.wasted > 0).any()
    assert (outcome.missed > 0).any()


def test_nothing_is_sold_after_its_shelf_life() -> None:
    life = np.array([1, 2, 3])
    wanted = np.where(np.arange(6) >= life[:, None], 5.0, 0.0)
    every_day = np.ones((3, 6), dtype=np.bool_)
    outcome = replay(
        wanted, np.zeros((3, 3)), life, every_day, lambda day, _: np.full(3, 4.0 * (day == 0))
    )
    assert outcome.sold.sum() == 0
    assert outcome.wasted.tolist() == [[4, 0, 0, 0, 0, 0], [0, 4, 0, 0, 0, 0], [0, 0, 4, 0, 0, 0]]


def test_what_is_wanted_later_changes_no_order() -> None:
    wanted, lots, life, delivers = some_days()
    given_lots = lots.copy()
    other = wanted.copy()
    other[:, 30:] = 50
    one, two = (replay(part, lots, life, delivers, up_to(5)) for part in (wanted, other))
    np.testing.assert_array_equal(one.ordered[:, :31], two.ordered[:, :31])
    assert (one.ordered[:, 31:] != two.ordered[:, 31:]).any()
    np.testing.assert_array_equal(lots, given_lots)


def test_costs_and_shares_equal_their_formulas() -> None:
    outcome = Outcome(
        ordered=np.array([[5.0, 3.0]]),
        sold=np.array([[4.0, 2.0]]),
        missed=np.array([[0.0, 2.0]]),
        wasted=np.array([[1.0, 1.0]]),
    )
    cost = outcome.cost(Costs(np.array([3.0]), np.array([0.5])))
    assert cost.tolist() == [(3 * 2 + 0.5 * 2) / 2]
    assert outcome.fill_rate == 6 / 8
    assert outcome.waste_share == 2 / 8
    nothing = Outcome(*[np.zeros((1, 2))] * 4)
    assert (nothing.fill_rate, nothing.waste_share) == (1, 0)


def test_an_interval_holds_the_total_and_is_the_same_for_the_same_seed() -> None:
    rng = np.random.default_rng(3)
    groups = np.arange(400) // 10
    saved = rng.normal(1, 2, 400) + rng.normal(0, 1, 40)[groups]
    found = interval(saved, groups, seed=4)
    total, low, high = found
    assert total == pytest.approx(saved.sum())
    assert low < total < high
    assert found == interval(saved, groups, seed=4)
    _, wider_low, wider_high = interval(saved, groups, share=0.99, seed=4)
    assert wider_low < low < high < wider_high
    # the pairs of a place share their days: one by one they would seem surer than they are
    _, apart_low, apart_high = interval(saved, np.arange(400), seed=4)
    assert apart_high - apart_low < high - low
    assert interval(np.array([2.0, 3.0]), np.array([0, 0])) == (5, 5, 5)


def test_an_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    held = 0
    for seed in range(200):
        saved = rng.normal(1, 2, 40)
        _, low, high = interval(saved, np.arange(40), draws=400, seed=seed)
        held += low <= 40 <= high
    assert 0.82 <= held / 200 <= 0.96
