"""A backtest on a simulated past: what it says was saved was saved, and it knows no future."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from larder.learning.backtest import FOLLOWING_DAYS, PlannedDeliveries, Terms, backtest
from larder.learning.features import Surroundings
from larder.learning.forecasts import days_ahead
from larder.learning.frames import Floats
from larder.learning.orders import Costs
from larder.learning.panel import Panel, read_panel, shelf_lives
from larder.learning.quantiles import LEVELS
from larder.learning.replay import replay
from larder.learning.training import Learned, learn

DAYS, FIRST = 120, 100
CODES = {"location": (), "item": ()}


@dataclass(frozen=True)
class Past:
    """Hold a simulated past, a model of its first 100 days, and the demand that nobody saw."""

    panel: Panel
    surroundings: Surroundings
    learned: Learned
    terms: Terms
    demand: Floats


@pytest.fixture(scope="module")
def past(simulate: Callable[..., Any]) -> Past:
    network = simulate(seed=9, locations=6, items=5, days=DAYS)
    panel = read_panel(network.days, network.pairs)
    life = shelf_lives(panel, network.items)
    surroundings = Surroundings(
        holidays=np.zeros((panel.size, DAYS + FOLLOWING_DAYS)),
        places={
            "location": panel.location_codes.astype(np.float64),
            "item": panel.item_codes.astype(np.float64),
        },
    )
    terms = Terms(
        costs=Costs(np.full(panel.size, 3.0), np.full(panel.size, 2.0)),
        shelf_life_days=life,
        pack_size=np.ones(panel.size, dtype=np.int64),
        lead_days=np.ones(panel.size, dtype=np.int64),
        delivers=np.ones((panel.size, DAYS - FIRST + FOLLOWING_DAYS), dtype=np.bool_),
        capacity=np.full(panel.size, np.nan),
    )
    learned = learn(panel.until(FIRST - 1), surroundings, life, int(life.max()), CODES)
    return Past(panel, surroundings, learned, terms, network.demand.astype(np.float64))


def test_it_says_what_would_have_been_saved(past: Past) -> None:
    found = backtest(past.learned, past.panel, past.surroundings, past.terms, FIRST)
    assert found.days == DAYS - FIRST
    saving = found.saving
    assert saving.low <= saving.total <= saving.high
    assert saving.total == pytest.approx(found.done.cost - found.plan.cost)
    assert saving.by_place.sum() == pytest.approx(saving.total)
    # the demand it could not see differs from what it drew by little
    true = past.demand[:, FIRST:].sum()
    assert found.done.sold + found.done.missed == pytest.approx(true, rel=0.04)
    assert found.plan.sold + found.plan.missed == pytest.approx(found.done.sold + found.done.missed)
    # nothing comes from nowhere
    stock = past.panel.closing[:, FIRST - 1].sum()
    assert found.plan.sold + found.plan.wasted <= found.plan.delivered + stock + 1e-9


def test_it_is_judged_by_the_same_replay_on_the_true_demand(past: Past) -> None:
    true = past.demand[:, FIRST:]
    found, known = (
        backtest(past.learned, past.panel, past.surroundings, past.terms, FIRST, wanted)
        for wanted in (None, true)
    )
    assert known.done.sold + known.done.missed == true.sum()
    assert known.saving.total == pytest.approx(known.done.cost - known.plan.cost)
    # what came is what came, whatever was wanted
    assert known.done.delivered == found.done.delivered
    assert found.saving.low <= known.saving.total <= found.saving.high


def test_a_day_that_is_not_over_changes_no_delivery_before_it(past: Past) -> None:
    """Leak: whatever is sold, brought or thrown away after a close, earlier orders stay."""
    rng = np.random.default_rng(1)
    cut = FIRST + 8
    cells = {
        name: getattr(past.panel, name).copy()
        for name in ("sold", "discarded", "closing", "restocked", "available")
    }
    for values in cells.values():
        values[:, cut:] = rng.uniform(0, 1, values[:, cut:].shape)
    other = replace(past.panel, **cells)
    lots = np.ones((past.panel.size, 5))
    wanted = past.panel.sold[:, FIRST : cut + 1]
    always = np.ones(wanted.shape, dtype=np.bool_)
    ordered = [
        replay(wanted, lots, past.terms.shelf_life_days, always, planned(past, panel)).ordered
        for panel in (past.panel, other)
    ]
    np.testing.assert_array_equal(ordered[0], ordered[1])


def planned(past: Past, panel: Panel) -> PlannedDeliveries:
    """Plan with the forecasts of the replayed days, made by the given history."""
    horizon = int(past.terms.shelf_life_days.max())
    forecasts = days_ahead(
        past.learned.demand, panel, past.surroundings, FIRST - 1, panel.width - 2, horizon
    )
    quantiles = np.stack([one.quantiles for one in forecasts], axis=2)
    return PlannedDeliveries(
        past.learned.demand.levels, quantiles, panel.location_codes, past.terms
    )


def test_orders_keep_to_deliveries_lead_time_packs_and_room(past: Past) -> None:
    days = DAYS - FIRST
    weekly = np.zeros((past.panel.size, days + FOLLOWING_DAYS), dtype=np.bool_)
    weekly[:, 3::7] = True
    terms = replace(
        past.terms,
        lead_days=np.full(past.panel.size, 2),
        pack_size=np.full(past.panel.size, 4),
        delivers=weekly,
        capacity=np.full(past.panel.size, 20.0),
    )
    horizon = int((terms.lead_days + terms.shelf_life_days).max()) - 1
    quantiles = np.broadcast_to(
        np.array([1.0, 2.0, 3.0, 4.0, 6.0]), (past.panel.size, days, horizon, len(LEVELS))
    )
    policy = PlannedDeliveries(LEVELS, quantiles, past.panel.location_codes, terms)
    wanted = np.full((past.panel.size, days), 3.0)
    lots = np.zeros((past.panel.size, int(terms.shelf_life_days.max())))
    always = np.ones(wanted.shape, dtype=np.bool_)
    found = replay(wanted, lots, terms.shelf_life_days, always, policy)
    assert found.ordered[:, ~weekly[0, :days]].sum() == 0
    assert found.ordered.sum() > 0
    assert (found.ordered % 4 == 0).all()
    held = np.zeros(int(past.panel.location_codes.max()) + 1)
    np.add.at(held, past.panel.location_codes, found.ordered[:, 3])
    assert (held <= 20).all()
