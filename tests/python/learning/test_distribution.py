"""The distribution of a day: there and back again, masses that add up, paths that repeat."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from larder.learning.distribution import LEAST, cumulative, daily_mass, demand_paths, inverse
from larder.learning.frames import Floats

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
STEPS = st.lists(st.floats(0.01, 9), min_size=len(LEVELS), max_size=len(LEVELS))


def some_quantiles(rows: int, seed: int = 3) -> Floats:
    """Draw rows of ascending quantiles, some of them still at the very least."""
    steps = np.random.default_rng(seed).gamma(1, 1.5, (rows, len(LEVELS)))
    steps[::3, 0] = 0
    return np.asarray(LEAST + np.cumsum(steps, axis=1))


@given(STEPS, st.lists(st.floats(0, 0.999), min_size=1, max_size=8))
def test_there_and_back_again(steps: list[float], chances: list[float]) -> None:
    quantiles = LEAST + np.cumsum([steps], axis=1)
    chance = np.sort([chances], axis=1)
    units = inverse(LEVELS, quantiles, chance)
    assert (units >= LEAST).all()
    assert (np.diff(units, axis=1) >= 0).all()
    assert cumulative(LEVELS, quantiles, units) == pytest.approx(chance, abs=1e-9)
    assert cumulative(LEVELS, quantiles, quantiles)[0] == pytest.approx(LEVELS)
    assert cumulative(LEVELS, quantiles, np.array([[LEAST, 1e9]])).tolist() == [[0, 1]]


def test_the_mass_is_a_distribution_with_the_mean_of_the_paths() -> None:
    quantiles = some_quantiles(30)
    mass = daily_mass(LEVELS, quantiles, np.ones(30), 200)
    assert (mass >= 0).all()
    assert mass.sum(axis=1) == pytest.approx(1)
    units = demand_paths(LEVELS, quantiles[:, None], 20_000, seed=1)[:, 0]
    assert mass @ np.arange(200) == pytest.approx(units.mean(axis=1), rel=0.005, abs=0.005)
    for count in (0, 1, 4):
        assert mass[:, count] == pytest.approx((units == count).mean(axis=1), abs=0.001)


def test_the_last_of_few_points_holds_all_that_is_beyond() -> None:
    quantiles = some_quantiles(30)
    few, many = (daily_mass(LEVELS, quantiles, np.full(30, 2.0), points) for points in (4, 100))
    assert few[:, :3] == pytest.approx(many[:, :3])
    assert few[:, 3] == pytest.approx(many[:, 3:].sum(axis=1))


def test_demand_that_is_always_nothing_is_nothing() -> None:
    nothing = np.full((1, len(LEVELS)), LEAST)
    assert daily_mass(LEVELS, nothing, np.ones(1), 3)[0] == pytest.approx([1, 0, 0])
    assert (demand_paths(LEVELS, nothing[:, None], 50, seed=1) == 0).all()


def test_paths_are_the_rows_own_and_the_same_for_the_same_seed() -> None:
    quantiles = some_quantiles(12).reshape(4, 3, -1)
    paths = demand_paths(LEVELS, quantiles, 300, seed=5)
    assert (paths >= 0).all()
    np.testing.assert_array_equal(paths, demand_paths(LEVELS, quantiles, 300, seed=5))
    np.testing.assert_array_equal(paths[2:3], demand_paths(LEVELS, quantiles[2:3], 300, seed=5))
    assert (paths != demand_paths(LEVELS, quantiles, 300, seed=6)).any()
    # the days of a path know nothing of each other
    alike = np.broadcast_to(quantiles[:1, :1], (1, 2, len(LEVELS)))
    one, two = demand_paths(LEVELS, alike, 3000, seed=5)[0]
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.06
