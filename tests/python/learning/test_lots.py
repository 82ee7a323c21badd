"""Lots: what expires, what is wasted and what is left over, against replays unit by unit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from larder.learning.distribution import LEAST, demand_paths
from larder.learning.frames import Floats
from larder.learning.lots import expiring_units, unmet_demand, waste_outlook
from larder.learning.panel import Panel

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
HORIZONS = 5


def panel_of(restocked: list[int], closing: list[int]) -> Panel:
    """Lay one pair out; nothing but deliveries and closings is read."""
    shape = (1, len(restocked))
    return Panel(
        location_ids=np.array(["a"], dtype=object),
        item_ids=np.array(["x"], dtype=object),
        location_codes=np.zeros(1, dtype=np.int64),
        item_codes=np.zeros(1, dtype=np.int64),
        as_of=np.full(1, np.datetime64("2025-01-01", "D")),
        restocked=np.array([restocked], dtype=np.float64),
        sold=np.full(shape, np.nan),
        discarded=np.full(shape, np.nan),
        missing=np.full(shape, np.nan),
        closing=np.array([closing], dtype=np.float64),
        available=np.full(shape, np.nan),
        stocked_out=np.zeros(shape, dtype=np.bool_),
        observed=np.ones(shape, dtype=np.bool_),
    )


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12),
    st.integers(1, 7),
)
@settings(max_examples=100, deadline=None)
def test_what_expires_equals_a_replay_unit_by_unit(days: list[tuple[int, int]], life: int) -> None:
    stock: list[int] = []  # the last day on which each unit can be sold
    closings, expected = [], []
    for day, (arrived, wanted) in enumerate(days):
        stock = (stock + [day + life - 1] * arrived)[wanted:]
        stock = [last for last in stock if last > day]
        closings.append(len(stock))
        expected.append([sum(last <= day + h for last in stock) for h in range(1, HORIZONS + 1)])
    panel = panel_of([arrived for arrived, _ in days], closings)
    found = expiring_units(panel, np.array([life]), HORIZONS)
    assert found.tolist() == [expected]


def test_what_no_delivery_explains_expires_first() -> None:
    panel = panel_of([0, 2, 0], [3, 5, 4])
    assert expiring_units(panel, np.array([3]), 3).tolist() == [[[3, 3, 3], [3, 5, 5], [4, 4, 4]]]
    assert expiring_units(panel, np.array([4]), 3).tolist() == [[[3, 3, 3], [3, 3, 5], [2, 4, 4]]]


def some_outlooks(rows: int, held: int, seed: int = 8) -> tuple[Floats, Floats]:
    """Draw quantiles (R, H, Q) of demand, little or much, and what expires of so many units."""
    rng = np.random.default_rng(seed)
    usual = rng.uniform(0.3, 3, (rows, 1, 1)) * held / HORIZONS
    steps = usual * rng.gamma(1, 0.3, (rows, HORIZONS, len(LEVELS)))
    quantiles = LEAST + np.cumsum(steps, axis=2)
    expiring = np.cumsum(rng.multinomial(held, np.full(HORIZONS, 1 / HORIZONS), rows), axis=1)
    return quantiles, expiring.astype(np.float64)


def replayed(quantiles: Floats, expiring: Floats, paths: int) -> tuple[Floats, Floats]:
    """Sell lots one after the other on drawn days; say how often and how much was wasted."""
    units = demand_paths(LEVELS, quantiles, paths, seed=2)
    lots = np.repeat(np.diff(expiring, axis=1, prepend=0.0)[:, None], paths, axis=1)
    wasted = np.zeros((len(quantiles), paths, HORIZONS))
    for day in range(HORIZONS):
        left = units[:, day].astype(np.float64)
        for lot in range(day, HORIZONS):
            sold = np.minimum(lots[:, :, lot], left)
            lots[:, :, lot] -= sold
            left -= sold
        wasted[:, :, day] = lots[:, :, day]
    total = np.cumsum(wasted, axis=2)
    return (total > 0).mean(axis=1), total.mean(axis=1)


def test_the_outlook_equals_a_replay_of_many_days() -> None:
    quantiles, expiring = some_outlooks(rows=20, held=12)
    expiring[0] = 0
    chance, units = waste_outlook(LEVELS, quantiles, expiring)
    drawn_chance, drawn_units = replayed(quantiles, expiring, 20_000)
    assert ((chance > 0.1) & (chance < 0.9)).mean() > 0.3
    # three standard errors of a share of 20,000
    np.testing.assert_allclose(chance, drawn_chance, atol=0.011)
    np.testing.assert_allclose(units, drawn_units, atol=0.06)
    assert (chance[0] == 0).all()
    assert (units[0] == 0).all()


def test_many_units_are_counted_in_steps() -> None:
    quantiles, expiring = some_outlooks(rows=20, held=200)
    chance, units = waste_outlook(LEVELS, quantiles, expiring)
    drawn_chance, drawn_units = replayed(quantiles, expiring, 5_000)
    np.testing.assert_allclose(chance, drawn_chance, atol=0.1)
    # a step is three units
    np.testing.assert_allclose(units, drawn_units, atol=6)


@given(st.integers(1, 90), st.integers(0, 50), st.booleans())
@settings(max_examples=50, deadline=None)
def test_an_outlook_is_coherent_and_its_own_rows(held: int, seed: int, is_fractional: bool) -> None:
    quantiles, expiring = some_outlooks(rows=3, held=held, seed=seed)
    expiring *= 0.7 if is_fractional else 1.0
    expiring[2] *= 3
    chance, units = waste_outlook(LEVELS, quantiles, expiring)
    assert ((chance >= 0) & (chance <= 1)).all()
    assert (np.diff(chance, axis=1) >= 0).all()
    assert (np.diff(units, axis=1) >= -1e-9).all()
    assert (units <= expiring).all()
    alone = waste_outlook(LEVELS, quantiles[1:2], expiring[1:2])
    np.testing.assert_allclose(alone[0], chance[1:2], atol=1e-9)
    np.testing.assert_allclose(alone[1], units[1:2], atol=1e-9)


def test_more_demand_wastes_less_and_no_lots_at_all_are_fine() -> None:
    quantiles, expiring = some_outlooks(rows=20, held=12)
    less, more = (waste_outlook(LEVELS, part, expiring) for part in (quantiles, quantiles + 1))
    assert (more[0] <= less[0] + 1e-9).all()
    assert (more[1] <= less[1] + 1e-9).all()
    nothing = waste_outlook(LEVELS, quantiles[:0], expiring[:0])
    assert [part.shape for part in nothing] == [(0, HORIZONS)] * 2


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=6),
    st.integers(0, 4),
    st.lists(st.integers(0, 6), min_size=6, max_size=6),
)
@settings(max_examples=100, deadline=None)
def test_unmet_demand_equals_a_replay_unit_by_unit(
    lots: list[int], longer: int, wanted: list[int]
) -> None:
    horizon = len(lots)
    stock = [day for day, units in enumerate(lots) for _ in range(units)] + [99] * longer
    expiring = np.cumsum(lots).astype(np.float64)
    unmet = []
    for day, units in enumerate(wanted[:horizon]):
        unmet.append(max(units - len(stock), 0))
        stock = [last for last in stock[units:] if last > day]
    paths = np.array(wanted[:horizon])[None, :, None]
    held = np.array([float(sum(lots) + longer)])
    assert unmet_demand(paths, expiring[None], held)[0, :, 0].tolist() == pytest.approx(unmet)
