"""What orders cost: two months replayed under several ways of ordering, on the same true demand.

Demand is drawn anew from the planted intensity; stock starts from the real lots. Forecasts and
quantiles of a day know the real history up to the close before; the stocking policy, which orders
by what it sold itself, knows that of the replay.
"""

from __future__ import annotations

import numpy as np

from benchmarks.planted import PATHS, Network, Truth, planned_units
from larder.learning.demand import demand_distributions
from larder.learning.distribution import demand_paths
from larder.learning.forecasts import days_ahead
from larder.learning.frames import Floats, Ints
from larder.learning.lots import expiring_units
from larder.learning.orders import whole_packs
from larder.learning.replay import Outcome, Policy, replay, saving_interval
from larder.learning.training import Learned

REPLAYED_DAYS = 60
SALES_DAYS = 28
COVERED_DAYS = 2
SURE = 0.95
SEED = 3


def measure(network: Network, truth: Truth, model: Learned) -> list[str]:
    """Print what each way of ordering costs, and return the targets that the plan misses.

    The model must not have seen the last 60 days.
    """
    panel, costs = network.panel, network.costs
    begin = panel.width - REPLAYED_DAYS
    wanted = np.random.default_rng(SEED).poisson(truth.intensity[:, begin:]).astype(np.float64)
    due = expiring_units(panel, network.shelf_life_days, network.horizon)[:, begin - 1]
    start = np.diff(due, axis=1, prepend=0.0)
    policies = {
        "plan": learned_plan(network, model, begin),
        "weekday quantile": weekday_quantile(network, begin),
        "stocking policy": stocking_policy(
            network.shelf_life_days, truth, panel.sold[:, begin - SALES_DAYS : begin], wanted
        ),
        "oracle plan": oracle_plan(network, truth, begin),
    }
    delivers = np.ones(wanted.shape, dtype=np.bool_)
    outcomes: dict[str, Outcome] = {}
    print(f"decisions: {panel.size} pairs, {REPLAYED_DAYS} days, {wanted.mean():.2f} units a day")
    print(f"{'':18}{'cost':>9}{'waste':>9}{'filled':>9}   plan less this (95 % interval)")
    missed = []
    for name, policy in policies.items():
        outcome = replay(wanted, start, network.shelf_life_days, delivers, policy)
        outcomes[name] = outcome
        line = f"{name:18}{outcome.cost(costs).mean():9.4f}{outcome.waste_share:9.4f}"
        line += f"{outcome.fill_rate:9.4f}"
        if name != "plan":
            more = (outcomes["plan"].cost(costs) - outcome.cost(costs)) / panel.size
            less = saving_interval(more, panel.location_codes, SURE)
            line += f"   {less.total:+.4f} ({less.low:+.4f} to {less.high:+.4f})"
            if name != "oracle plan" and less.high >= 0:
                missed.append(f"the plan is not surely cheaper than the {name}")
        print(line, flush=True)
    plan, stocking, oracle = (
        outcomes[name].cost(costs).mean() for name in ("plan", "stocking policy", "oracle plan")
    )
    closed = (stocking - plan) / (stocking - oracle)
    print("cost in USD a pair and day; waste of units brought, filled of units wanted")
    print(f"the plan closes {closed:.3f} of the gap from the stocking policy to the oracle")
    return missed


def learned_plan(network: Network, model: Learned, begin: int) -> Policy:
    """Plan by the forecasts that are made at the close before each day."""
    forecasts = days_ahead(
        model.demand,
        network.panel,
        network.surroundings,
        begin - 1,
        network.panel.width - 2,
        network.horizon,
    )
    quantiles = np.stack([one.quantiles for one in forecasts], axis=2)

    def order(day: int, lots: Floats) -> Floats:
        paths = demand_paths(model.demand.levels, quantiles[:, day], PATHS, day)
        return planned_units(network, paths, lots)

    return order


def weekday_quantile(network: Network, begin: int) -> Policy:
    """Order up to the quantile of the same weekdays' demand at the critical ratio."""
    ratio = network.costs.critical_ratio
    rows = np.arange(network.panel.size)
    one = np.ones(network.panel.size, dtype=np.int64)

    def order(day: int, lots: Floats) -> Floats:
        known = network.panel.until(begin + day - 1)
        demand, _ = demand_distributions(known, rows, known.item_codes, one, one)
        wanted = np.where(ratio > 0, demand.quantile(ratio), 0.0)
        return whole_packs(wanted - lots.sum(axis=1), network.pack_size).astype(np.float64)

    return order


def stocking_policy(shelf_life_days: Ints, truth: Truth, sold: Floats, wanted: Floats) -> Policy:
    """Order as the sample's places do: up to two days of the last 28 days' sales, and some more.

    Args:
        shelf_life_days: (S,). sold: (S, 28) units of the days before the first.
        wanted: (S, K) of each replayed day: with what was there it tells what was sold.
    """
    sales = list(sold.T)
    there: list[Floats] = []
    cover = np.minimum(shelf_life_days, COVERED_DAYS)

    def order(day: int, lots: Floats) -> Floats:
        if day:
            sales.append(np.minimum(wanted[:, day - 1], there[-1]))
        level = np.ceil(np.mean(sales[-SALES_DAYS:], axis=0) * cover + truth.stocking_bias)
        held = lots.sum(axis=1)
        ordered = np.maximum(level - held, 0.0)
        there.append(held + ordered)
        return np.asarray(ordered)

    return order


def oracle_plan(network: Network, truth: Truth, begin: int) -> Policy:
    """Plan knowing the intensity of each day, though not what chance makes of it."""

    def order(day: int, lots: Floats) -> Floats:
        paths = poisson_paths(truth.ahead(begin + day, network.horizon), PATHS, day)
        return planned_units(network, paths, lots)

    return order


def poisson_paths(intensity: Floats, paths: int, seed: int) -> Ints:
    """Draw whole units of H days (S, H, paths), of each day evenly spread like `demand_paths`."""
    rng = np.random.default_rng(seed)
    even = (np.arange(paths) + 0.5) / paths
    units = np.empty((*intensity.shape, paths), dtype=np.int64)
    for day, mean in enumerate(intensity.T):
        below = np.cumsum(poisson_mass(mean, most_units(mean)), axis=1)
        chance = rng.permutation(even)
        units[:, day] = (below[:, :, None] < chance).sum(axis=1)
    return units


def most_units(mean: Floats) -> int:
    """Return units that next to no day exceeds."""
    most = float(mean.max(initial=0.0))
    return int(np.ceil(most + 8 * np.sqrt(most) + 8))


def poisson_mass(mean: Floats, points: int) -> Floats:
    """Give the probability of 0, 1, … points - 1 units (R, points)."""
    mass = np.empty((len(mean), points))
    mass[:, 0] = np.exp(-mean)
    for units in range(1, points):
        mass[:, units] = mass[:, units - 1] * mean / units
    return mass
