"""A backtest on a simulated past: what it says was saved was saved, and it knows no future."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import PAST_DAYS, REPLAYED_FROM, Past

from larder.learning.backtest import (
    FOLLOWING_DAYS,
    PlannedDeliveries,
    ReplayedDays,
    backtest,
    replayed_days,
)
from larder.learning.panel import Panel
from larder.learning.quantiles import QUANTILE_LEVELS
from larder.learning.replay import replay


def test_it_says_what_would_have_been_saved(past: Past) -> None:
    found = backtest(replayed(past, past.panel))
    assert found.days == PAST_DAYS - REPLAYED_FROM
    saving = found.saving
    assert saving.low <= saving.total <= saving.high
    assert saving.total == pytest.approx(found.cost(found.done) - found.cost(found.plan))
    assert saving.by_place.sum() == pytest.approx(saving.total)
    # the demand it could not see differs from what it drew by little
    done, plan = (
        {name: getattr(side, name).sum() for name in ("ordered", "sold", "missed", "wasted")}
        for side in (found.done, found.plan)
    )
    assert done["sold"] + done["missed"] == pytest.approx(
        past.demand[:, REPLAYED_FROM:].sum(), rel=0.04
    )
    assert plan["sold"] + plan["missed"] == pytest.approx(done["sold"] + done["missed"])
    # nothing comes from nowhere
    stock = past.panel.closing[:, REPLAYED_FROM - 1].sum()
    assert plan["sold"] + plan["wasted"] <= plan["ordered"] + stock + 1e-9


def test_it_is_judged_by_the_same_replay_on_the_true_demand(past: Past) -> None:
    true = past.demand[:, REPLAYED_FROM:]
    days = replayed(past, past.panel)
    found, known = backtest(days), backtest(days, true)
    for side in (known.done, known.plan):
        np.testing.assert_allclose(side.sold + side.missed, true)
    # what came is what came, whatever was wanted
    np.testing.assert_array_equal(known.done.ordered, found.done.ordered)
    assert found.saving.low <= known.saving.total <= found.saving.high


def test_a_day_that_is_not_over_changes_no_delivery_before_it(past: Past) -> None:
    """Leak: whatever is sold, brought or thrown away after a close, earlier orders stay."""
    rng = np.random.default_rng(1)
    cut = REPLAYED_FROM + 8
    cells = {
        name: getattr(past.panel, name).copy()
        for name in ("sold", "discarded", "closing", "restocked", "available")
    }
    for values in cells.values():
        values[:, cut:] = rng.uniform(0, 1, values[:, cut:].shape)
    other = replace(past.panel, **cells)
    wanted = past.panel.sold[:, REPLAYED_FROM : cut + 1]
    one, two = (replayed(past, panel).with_plan(wanted).ordered for panel in (past.panel, other))
    np.testing.assert_array_equal(one, two)


def replayed(past: Past, panel: Panel) -> ReplayedDays:
    """Prepare the last days of a history, which may differ from the past's own."""
    return replayed_days(past.learned, panel, past.surroundings, past.terms, REPLAYED_FROM)


def test_orders_keep_to_deliveries_lead_time_packs_and_room(past: Past) -> None:
    days = PAST_DAYS - REPLAYED_FROM
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
        np.array([1.0, 2.0, 3.0, 4.0, 6.0]), (past.panel.size, days, horizon, len(QUANTILE_LEVELS))
    )
    policy = PlannedDeliveries(QUANTILE_LEVELS, quantiles, past.panel.location_codes, terms)
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
