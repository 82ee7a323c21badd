"""Score what is held and what is to be ordered, by the model that serves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from larder.learning import explanations
from larder.learning.distribution import demand_paths
from larder.learning.features import Features, Surroundings
from larder.learning.forecasts import days_ahead, features_ahead
from larder.learning.frames import Bools, Floats, Ints, Texts
from larder.learning.lots import unmet_demand
from larder.learning.orders import Costs, Plan, plan_orders
from larder.learning.outlook import NAMES, outlook
from larder.learning.panel import Panel
from larder.learning.reasons import THIN_DAYS, WEEKDAYS, amount, phrase, plural
from larder.learning.training import Learned
from larder.learning.waste import MAX_HORIZON_DAYS

PATHS: Final = 400
SEED: Final = 0
CHUNK: Final = 1000


@dataclass(frozen=True)
class Risks:
    """Hold the risk of S pairs by H horizons: probability, expected units, reasons (S, H) each."""

    probability: Floats
    units: Floats
    reasons: Texts


def score_risks(
    learned: Learned,
    panel: Panel,
    surroundings: Surroundings,
    shelf_life_days: Ints,
    held: Floats,
    expiring: Floats,
) -> Risks:
    """Score what S pairs hold at the close of the panel's last day.

    Args:
        held: (S,) units. expiring: (S, H) of them, those that expire within 1 … H days.
    """
    last = panel.width - 1
    horizon = expiring.shape[1]
    closing = panel.closing.copy()
    closing[:, last] = held
    known = replace(panel, closing=closing)
    look = outlook(
        learned.demand,
        known,
        surroundings,
        shelf_life_days,
        last,
        last,
        horizon,
        expiring=expiring[:, None],
    )
    probability, units = np.zeros(expiring.shape), np.zeros(expiring.shape)
    probability[look.pair], units[look.pair] = look.risks(learned.risk)
    tomorrow = features_ahead(panel, surroundings, 1)
    expected = np.repeat(learned.demand.expected(tomorrow), horizon, axis=1)
    leans = np.zeros(expiring.shape)
    expected[look.pair] = look.expected
    past = NAMES.index("wasted_days")
    flat = look.rows.reshape(-1, len(NAMES))
    leans[look.pair] = learned.risk.contributions(flat)[:, past].reshape(look.probability.shape)
    moved = _moved(learned, panel, tomorrow, "tomorrow")
    wasted, looked = _lately(panel, panel.discarded > 0, explanations.WASTED_DAYS)
    row, at = np.divmod(np.arange(expiring.size), horizon)
    days = explanations.deciding_days(expiring, expected)[row, at]
    reasons = explanations.risk_reasons(
        held[row],
        expiring[row, days - 1],
        days,
        expected[row, days - 1],
        wasted[row],
        looked[row],
        leans[row, at],
        _thin(panel)[row],
        [one[row] for one in moved],
    )
    return Risks(probability, units, reasons.reshape(expiring.shape))


def left_to_orders(
    levels: Sequence[float],
    quantiles: Floats,
    expiring: Floats,
    held: Floats,
    ahead: Ints,
    cover: Ints,
    shelf_life_days: Ints,
    seed: int = SEED,
) -> tuple[Floats, Floats, Floats]:
    """Simulate what the stock at hand leaves of demand to the next orders.

    Args:
        levels: (Q,). quantiles: (R, H, Q) of the demand of the next H days. expiring: (R, H) of the
            units held, those that expire within 1 … H days; held: (R,) all of them.
        ahead: (R,) days to the delivery, 1 for before the opening of the first day. cover: (R,)
            days to the following one. shelf_life_days: (R,) of what is delivered. seed: of the
            paths.

    Returns:
        Units left to the order until the following delivery, and in its shelf life, and units
        wanted until the following delivery: (R, P) each, on P paths.
    """
    until_next, in_life, asked = (np.empty((len(held), PATHS)) for _ in range(3))
    day = np.arange(1, expiring.shape[1] + 1)
    for start in range(0, len(held), CHUNK):
        some = slice(start, start + CHUNK)
        first = ahead[some][:, None]
        paths = demand_paths(levels, quantiles[some], PATHS, seed)
        unmet = unmet_demand(paths, expiring[some], held[some])
        covered = (day >= first) & (day < first + cover[some][:, None])
        good = (day >= first) & (day < first + shelf_life_days[some][:, None])
        until_next[some] = np.einsum("rhp,rh->rp", unmet, covered)
        in_life[some] = np.einsum("rhp,rh->rp", unmet, good)
        asked[some] = np.einsum("rhp,rh->rp", paths, covered)
    return until_next, in_life, asked


@dataclass(frozen=True)
class Orders:
    """Hold R orders: the plan, quantiles of demand of the days covered (R,), reasons (R,)."""

    plan: Plan
    demand_p10: Floats
    demand_p50: Floats
    demand_p90: Floats
    reasons: Texts


def score_orders(
    learned: Learned,
    panel: Panel,
    surroundings: Surroundings,
    rows: Ints,
    ahead: Ints,
    cover: Ints,
    shelf_life_days: Ints,
    costs: Costs,
    pack_size: Ints,
    held: Floats,
    expiring: Floats,
    stock: Floats,
    room: Floats,
) -> Orders:
    """Plan R orders, of pairs of the panel, for the deliveries that come next.

    Args:
        rows: (R,) of the panel. ahead: (R,) days to the delivery. cover: (R,) days to the following
            one. shelf_life_days: (R,) of what is delivered. held: (S,) units of each pair now.
        expiring: (S, H) of them by day, H at least ahead + shelf life - 1 of any order (up to 30 of
            shelf life). stock: (R,) units that will still be there. room: (R,) units that fit in
            the place on top of all its stock, NaN for no limit.
    """
    last, horizon = panel.width - 1, expiring.shape[1]
    quantiles = np.stack(
        [
            one.quantiles[:, 0]
            for one in days_ahead(learned.demand, panel, surroundings, last, last, horizon)
        ],
        axis=1,
    )
    until_next, in_life, asked = left_to_orders(
        learned.demand.levels,
        quantiles[rows],
        expiring[rows],
        held[rows],
        ahead,
        cover,
        np.minimum(shelf_life_days, MAX_HORIZON_DAYS),
    )
    wanted = np.quantile(asked, (0.1, 0.5, 0.9), axis=1, method="inverted_cdf")
    plan = plan_orders(until_next, in_life, costs, pack_size, panel.location_codes[rows], room)
    moved: list[Texts] = []
    usual = np.empty(len(rows))
    for distance in np.unique(ahead):
        features = features_ahead(panel, surroundings, int(distance))
        here = ahead == distance
        said = _moved(learned, panel, features, "on the day")
        moved = moved or [np.full(len(rows), "", dtype=object) for _ in said]
        for one, words in zip(moved, said, strict=True):
            one[here] = words[rows[here]]
        usual[here] = features.level[rows[here], 0]
    weekday = WEEKDAYS[((panel.as_of[rows].astype(np.int64) + ahead) + 3) % 7]
    reasons = explanations.order_reasons(
        usual,
        weekday,
        _thin(panel)[rows],
        [one.astype(str) for one in moved],
        wanted[0],
        wanted[2],
        stock,
    )
    return Orders(plan, wanted[0], wanted[1], wanted[2], reasons)


def _moved(
    learned: Learned, panel: Panel, features: Features, when: Literal["tomorrow", "on the day"]
) -> list[Texts]:
    """Say what moves the demand of the one day described (S,) away from usual."""
    return explanations.demand_phrases(
        features.names,
        features.values[:, 0],
        learned.demand.contributions(features)[:, 0],
        when,
        *_lately(panel, panel.stocked_out, explanations.SOLD_OUT_DAYS),
    )


def _lately(panel: Panel, happened: Bools, most_days: int) -> tuple[Ints, Ints]:
    """Count the last days on which it happened (S, D), and those with records at all (S,) each."""
    seen = panel.observed[:, -most_days:]
    return (happened[:, -most_days:] & seen).sum(axis=1), seen.sum(axis=1)


def _thin(panel: Panel) -> Texts:
    """Say of each pair (S,) that its history is short, where it is."""
    seen = (panel.observed & (panel.available > 0)).sum(axis=1)
    said = phrase(
        "thin history: {} {} with stock, leaning on its kin",
        amount(seen),
        plural(seen, "day", "days"),
    )
    return np.where(seen < THIN_DAYS, said, "")
