"""Orders: the newsvendor's choice against brute force, whole packs, costs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from larder.learning.demand import Demand
from larder.learning.orders import order_quantities, unit_costs, whole_packs


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
