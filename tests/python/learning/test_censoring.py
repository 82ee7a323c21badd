"""Demand behind sales: what sold out is drawn anew, never below what was sold, without a bias."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from larder.learning.censoring import DAY_PARTS, Observed, blurred, learn_arrivals, wanted_units
from larder.learning.features import LEAST_AVAILABLE
from larder.learning.frames import Bools, Floats

NOON = (0, 0.375, 0.625, 1)
DAY = st.tuples(st.integers(0, 12), st.booleans(), st.floats(0.5, 20), st.floats(0, 1))


def cut_off(
    days: int, seed: int = 4, hours: Callable[[Floats], Floats] = np.asarray
) -> tuple[Floats, Floats, Floats, Bools, Floats]:
    """Sell arrivals through the day, until the stock is gone, at places of any size.

    `hours` makes moments of the day (0 to 1) of even ones.

    Returns demand as it was, what was sold, the share of the day with stock, where it sold out, and
    what was expected.
    """
    rng = np.random.default_rng(seed)
    expected = rng.uniform(1, 20, days)
    rate = expected * rng.gamma(8, 1 / 8, days)
    demand = rng.poisson(rate)
    stock = np.maximum(np.rint(expected * rng.uniform(0.6, 1.8, days)), 1)
    censored = demand >= stock
    available = np.ones(days)
    for day in np.flatnonzero(censored):
        available[day] = np.sort(hours(rng.random(demand[day])))[int(stock[day]) - 1]
    sold = np.minimum(demand, stock)
    return demand.astype(np.float64), sold, available, censored, expected


def test_the_mean_of_what_was_cut_off_comes_back() -> None:
    demand, sold, available, censored, expected = cut_off(days=20_000)
    assert 0.2 < censored.mean() < 0.5
    wanted = wanted_units(sold, available, censored, expected, seed=1)
    assert sold.mean() < 0.93 * demand.mean()
    assert wanted.mean() == pytest.approx(demand.mean(), rel=0.02)
    for level in (0.25, 0.5, 0.75, 0.9):
        found, true = (np.quantile(units / expected, level) for units in (wanted, demand))
        assert found == pytest.approx(true, abs=0.05)


def around_noon(even: Floats) -> Floats:
    """Let half of all demand come in the middle quarter of the day."""
    return np.asarray(np.interp(even, [0, 0.25, 0.75, 1], NOON))


def test_stock_outs_tell_which_hours_bring_demand_and_how_far_days_scatter() -> None:
    _, sold, available, censored, expected = cut_off(days=20_000, hours=around_noon)
    found = learn_arrivals(sold, available, censored, expected)
    moments = np.linspace(0, 1, 33)
    true = np.interp(moments, NOON, [0, 0.25, 0.75, 1])
    np.testing.assert_allclose(found.share_within(moments), true, atol=0.02)
    assert found.overdispersion == pytest.approx(1 / 8, rel=0.05)


def test_best_days_are_the_ones_that_sell_out_and_still_scatter_as_they_do() -> None:
    """Bias: what a plan misses is made on the highest days, which no sale shows whole."""
    demand, sold, available, censored, expected = cut_off(days=20_000, hours=around_noon)
    wanted = wanted_units(sold, available, censored, expected, seed=1)
    assert wanted.mean() == pytest.approx(demand.mean(), rel=0.01)
    missed, truly = (np.maximum(units - 1.5 * expected, 0).mean() for units in (wanted, demand))
    assert missed == pytest.approx(truly, rel=0.05)


def test_few_days_that_sold_out_leave_the_hours_alike() -> None:
    _, sold, available, censored, expected = cut_off(days=40, hours=around_noon)
    censored &= np.cumsum(censored) < 2
    found = learn_arrivals(sold, available, censored, expected)
    moments = np.linspace(0, 1, DAY_PARTS + 1)
    np.testing.assert_allclose(found.share_within(moments), moments, atol=0.1)


@given(st.lists(DAY, min_size=1, max_size=40), st.integers(0, 5))
@settings(max_examples=80, deadline=None)
def test_a_day_with_stock_is_as_it_was_and_no_other_is_below_what_was_sold(
    days: list[tuple[int, bool, float, float]], seed: int
) -> None:
    units, censored, expected, available = (np.array(part) for part in zip(*days, strict=True))
    wanted = wanted_units(units.astype(np.float64), available, censored, expected, seed)
    np.testing.assert_array_equal(wanted[~censored], units[~censored])
    assert (wanted >= units).all()
    np.testing.assert_array_equal(wanted, np.rint(wanted))


def test_a_day_that_sold_out_at_its_end_wanted_no_more() -> None:
    units, out = np.array([3.0, 5.0]), np.array([False, True])
    assert wanted_units(units, np.ones(2), out, np.full(2, 4.0), seed=0).tolist() == [3, 5]


def test_the_same_seed_draws_the_same() -> None:
    _, sold, available, censored, expected = cut_off(days=600)
    one, same, other = (
        wanted_units(sold, available, censored, expected, seed) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_noise_keeps_to_half_a_unit_and_leaves_fractions_alone() -> None:
    whole = np.random.default_rng(1).poisson(3, (40, 50)).astype(np.float64)
    noisy = blurred(whole, seed=3)
    assert (np.abs(noisy - whole) <= 0.5).all()
    assert noisy.mean() == pytest.approx(whole.mean(), abs=0.02)
    assert len(np.unique(noisy)) == noisy.size
    # kilograms, say: one that is not whole is enough to know
    fractional = whole.copy()
    fractional[0, 0] += 0.25
    np.testing.assert_array_equal(blurred(fractional, seed=3), fractional)


def test_a_moment_with_stock_says_too_little_to_be_divided_by() -> None:
    units = np.array([[6.0, 6.0, 6.0, np.nan]])
    observed = Observed(units, np.array([[1.0, 0.5, 0.01, 1.0]]), np.zeros((1, 4), dtype=np.bool_))
    np.testing.assert_array_equal(observed.rate, [[6, 12, 6 / LEAST_AVAILABLE, np.nan]])
    whole = Observed.whole(units)
    np.testing.assert_array_equal(whole.rate, units)
    assert not whole.censored.any()
