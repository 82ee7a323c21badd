"""Orders: the best choice against brute force over all others, whole packs, room, costs."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from larder.learning.demand import Demand
from larder.learning.frames import Floats, Ints
from larder.learning.orders import (
    Costs,
    order_quantities,
    plan_orders,
    unit_costs,
    whole_packs,
)

# sums of these are exact, so that no tie is decided by rounding
COST = st.integers(1, 20).map(lambda quarters: quarters / 4)
PATHS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 6)), min_size=8, max_size=8)


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=6),
    st.floats(0.1, 9.0),
    st.floats(0.1, 9.0),
    st.floats(0, 2),
)
def test_no_other_quantity_is_cheaper(
    weights: list[int], margin: float, cost: float, disposal: float
) -> None:
    units = np.arange(len(weights), dtype=np.float64)[None, :]
    demand = Demand(units, np.array([weights]) / sum(weights), np.ones(1))
    costs = unit_costs(np.array([cost + margin]), np.array([cost]), np.array([disposal]))
    quantity, expected = order_quantities(demand, costs, np.zeros(1), np.ones(1, dtype=np.int64))
    by_hand = [
        sum(
            share
            / sum(weights)
            * ((cost + margin - cost) * max(d - q, 0) + (cost + disposal) * max(q - d, 0))
            for d, share in enumerate(weights)
        )
        for q in range(len(weights) + 1)
    ]
    assert expected[0] == pytest.approx(by_hand[quantity[0]])
    assert expected[0] <= min(by_hand) + 1e-7


def test_critical_ratio_and_its_edges() -> None:
    price = np.array([4.0, 2.0, 1.0, np.nan, 0.0, 3.0])
    cost = np.array([1.0, 2.0, 5.0, 1.0, 0.0, 1.0])
    disposal = np.array([2.0, 0.0, 0.0, 0.0, 0.0, np.nan])
    ratio = unit_costs(price, cost, disposal).critical_ratio
    assert ratio == pytest.approx([0.5, 0, 0, 0, 0, 2 / 3])


def test_nothing_is_ordered_where_a_sale_earns_nothing() -> None:
    demand = Demand(np.array([[3.0]]), np.array([[1.0]]), np.ones(1))
    costs = unit_costs(np.array([1.0]), np.array([2.0]), np.array([0.0]))
    assert order_quantities(demand, costs, np.zeros(1), np.ones(1, dtype=np.int64))[0][0] == 0


@given(st.floats(-50, 500), st.integers(1, 24))
def test_packs_are_whole_and_enough(units: float, pack: int) -> None:
    quantity = int(whole_packs(np.array([units]), np.array([pack]))[0])
    assert quantity % pack == 0
    assert max(units, 0) - 1e-6 <= quantity < max(units, 0) + pack


def test_stock_counts_against_the_order() -> None:
    demand = Demand(np.array([[10.0]] * 3), np.ones((3, 1)), np.ones(3))
    costs = unit_costs(np.full(3, 3.0), np.full(3, 1.0), np.zeros(3))
    quantity, cost = order_quantities(
        demand, costs, np.array([0.0, 4.0, 12.0]), np.full(3, 4, dtype=np.int64)
    )
    assert quantity.tolist() == [12, 8, 0]
    assert cost == pytest.approx([2, 2, 2])


def simulated_cost(units: int, until_next: Floats, in_life: Floats, costs: Costs) -> Floats:
    """Return what so many units cost on average over the paths (R, P), one row at a time."""
    missed = [np.maximum(row - units, 0).mean() for row in until_next]
    wasted = [np.maximum(units - row, 0).mean() for row in in_life]
    return np.asarray(costs.underage * missed + costs.overage * wasted)


@given(PATHS, COST, COST, st.integers(1, 5))
@settings(max_examples=80, deadline=None)
def test_no_other_number_of_packs_is_cheaper(
    paths: list[tuple[int, int]], underage: float, overage: float, pack: int
) -> None:
    """Shelf life beyond the next delivery: what is left over by then may still be sold."""
    until_next = np.array([[before for before, _ in paths]], dtype=np.float64)
    in_life = until_next + np.array([[after for _, after in paths]])
    costs = Costs(np.array([underage]), np.array([overage]))
    plan = plan_orders(until_next, in_life, costs, np.array([pack]))
    packs = range(0, 24 + pack, pack)
    by_hand = [simulated_cost(units, until_next, in_life, costs)[0] for units in packs]
    assert plan.units[0] == packs[int(np.argmin(by_hand))]
    assert plan.expected_cost[0] == pytest.approx(min(by_hand))


@given(st.lists(st.integers(0, 12), min_size=8, max_size=8), COST, COST)
def test_for_one_delivery_a_life_it_is_the_critical_fractile(
    paths: list[int], underage: float, overage: float
) -> None:
    wanted = np.array([paths], dtype=np.float64)
    costs = Costs(np.array([underage]), np.array([overage]))
    plan = plan_orders(wanted, wanted, costs, np.ones(1, dtype=np.int64))
    expected = np.quantile(wanted[0], costs.critical_ratio[0], method="inverted_cdf")
    assert plan.units[0] == expected


def some_paths(rows: int) -> tuple[Floats, Floats, Costs]:
    rng = np.random.default_rng(12)
    until_next = rng.poisson(rng.uniform(1, 9, rows)[:, None], (rows, 64)).astype(np.float64)
    in_life = until_next + rng.poisson(2, (rows, 64))
    return until_next, in_life, Costs(rng.uniform(1, 4, rows), rng.uniform(0.5, 3, rows))


def test_nothing_is_planned_where_a_sale_earns_nothing_or_nothing_is_wanted() -> None:
    until_next, in_life, costs = some_paths(4)
    until_next[3], in_life[3] = 0, 0
    costs = Costs(np.array([0.0, 0.0, 2.0, 2.0]), np.array([1.0, 0.0, 0.0, 1.0]))
    plan = plan_orders(until_next, in_life, costs, np.full(4, 3))
    assert (plan.units == 0).tolist() == [True, True, False, True]
    # what costs nothing when it is wasted is ordered for the greatest demand
    assert plan.units[2] == whole_packs(until_next[2:3].max(axis=1), np.array([3]))[0]
    assert plan.expected_cost.tolist() == [0, 0, 0, 0]


def test_where_room_is_short_the_packs_that_earn_least_are_left_behind() -> None:
    """Against every other way to fill the two places."""
    until_next, in_life, costs = some_paths(7)
    pack = np.array([2, 2, 2, 2, 3, 3, 3])
    places = np.array([0, 0, 0, 0, 1, 1, 1])
    unlimited = plan_orders(until_next, in_life, costs, pack)

    def cheapest(rows: slice, room: float) -> float:
        sizes = [range(0, int(most) + 1, int(pack[rows][0])) for most in unlimited.units[rows]]
        cost = {
            units: simulated_cost(units, until_next, in_life, costs)
            for units in {unit for size in sizes for unit in size}
        }
        first = rows.start
        return min(
            sum(float(cost[units][first + row]) for row, units in enumerate(choice))
            for choice in product(*sizes)
            if sum(choice) <= room
        )

    for room in (0.0, 1.0, 7.0, 13.5, 99.0):
        limit = np.where(places == 0, room, np.nan)
        plan = plan_orders(until_next, in_life, costs, pack, places, limit)
        assert plan.units[:4].sum() <= room
        assert (plan.units[:4] <= unlimited.units[:4]).all()
        np.testing.assert_array_equal(plan.units[4:], unlimited.units[4:])
        assert plan.expected_cost[:4].sum() == pytest.approx(cheapest(slice(0, 4), room))
        both = plan_orders(until_next, in_life, costs, pack, places, np.full(7, room))
        assert both.expected_cost[4:].sum() == pytest.approx(cheapest(slice(4, 7), room))


@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(0, 2)), min_size=6, max_size=6),
    st.lists(st.one_of(st.none(), st.floats(-5, 40)), min_size=3, max_size=3),
)
@settings(max_examples=50, deadline=None)
def test_packs_are_whole_and_fit(rows: list[tuple[int, int]], rooms: list[float | None]) -> None:
    until_next, in_life, costs = some_paths(6)
    pack, places = (np.array(part) for part in zip(*rows, strict=True))
    room = np.array([np.nan if one is None else one for one in rooms])[places]
    units: Ints = plan_orders(until_next, in_life, costs, pack, places, room).units
    assert (units >= 0).all()
    assert (units % pack == 0).all()
    total = np.bincount(places, units)[places]
    assert ((total <= np.maximum(room, 0)) | np.isnan(room)).all()
