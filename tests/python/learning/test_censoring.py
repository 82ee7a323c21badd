"""Demand behind sales: what sold out is drawn anew, never below what was sold, without a bias."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from larder.learning.censoring import Observed, blurred, redistributed, wanted_units
from larder.learning.features import LEAST_AVAILABLE
from larder.learning.frames import Bools, Floats

DAY = st.tuples(st.integers(0, 12), st.booleans(), st.floats(0.5, 20))


def cut_off(days: int, seed: int = 4) -> tuple[Floats, Floats, Bools, Floats]:
    """Draw demand of places of any size: as it is, as it sold, where it sold out, its mean."""
    rng = np.random.default_rng(seed)
    mean = rng.uniform(5, 30, days)
    demand = rng.poisson(mean).astype(np.float64)
    stock = np.rint(mean * rng.uniform(0.6, 1.8, days))
    return demand, np.minimum(demand, stock), demand > stock, mean


def test_the_mean_of_what_was_cut_off_comes_back() -> None:
    demand, sold, censored, mean = cut_off(days=8_000)
    assert 0.3 < censored.mean() < 0.5
    wanted = redistributed(sold / mean, sold / mean, censored, mean, seed=1) * mean
    assert sold.mean() < 0.93 * demand.mean()
    assert wanted.mean() == pytest.approx(demand.mean(), rel=0.02)
    for level in (0.25, 0.5, 0.75, 0.9):
        found, true = (np.quantile(units / mean, level) for units in (wanted, demand))
        assert found == pytest.approx(true, abs=0.05)


@given(st.lists(DAY, min_size=1, max_size=40), st.integers(0, 5))
@settings(max_examples=80, deadline=None)
def test_a_day_with_stock_is_as_it_was_and_no_other_is_below_what_was_sold(
    days: list[tuple[int, bool, float]], seed: int
) -> None:
    units, censored, expected = (np.array(part) for part in zip(*days, strict=True))
    bound = units / expected
    found = redistributed(bound, 1.5 * bound, censored, expected, seed)
    np.testing.assert_array_equal(found[~censored], bound[~censored])
    assert (found >= bound).all()
    # whole units stay whole below their noise
    wanted = wanted_units(units.astype(np.float64), 1.5 * units, censored, expected, seed)
    assert (wanted >= units - 0.5).all()
    assert (np.abs(wanted - units)[~censored] <= 0.5).all()


def test_where_no_day_says_what_lies_beyond_the_guess_is_taken() -> None:
    bound = np.array([1.0, 2.0, 3.0])
    out = np.array([False, False, True])
    found = redistributed(bound, np.array([9.0, 9.0, 4.5]), out, np.ones(3), seed=0)
    assert found.tolist() == [1, 2, 4.5]
    assert redistributed(bound, bound - 2, out, np.ones(3), seed=0).tolist() == [1, 2, 3]


def test_the_same_seed_draws_the_same() -> None:
    _, sold, censored, mean = cut_off(days=600)
    one, same, other = (wanted_units(sold, sold, censored, mean, seed) for seed in (1, 1, 2))
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
