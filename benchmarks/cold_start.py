"""What is forecast for places and items never seen, and whether what is known of them helps.

Some places of the sample network (and apart from that some items) are left out of what is learned
from. Each of the last 60 days is then forecast as their first one: they have no history, the others
have theirs up to the close before. Compared with the planted intensity:

with     the library's forecast
without  the same, told nothing of population, popularity and trend
kin      no model: a new place sells of each item what the others sold of it in four weeks, a new
         item at each place what that place's other items sold

Deviance is Poisson's of units expected a day; cost is of orders for one day, in US dollars.

    python -m benchmarks cold_start
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.decisions import REPLAYED_DAYS, SURE, most_units, poisson_mass
from benchmarks.planted import DAYS_AFTER
from benchmarks.simulated import Simulated, simulate
from larder.learning.censoring import Observed
from larder.learning.distribution import inverse
from larder.learning.features import Features, demand_features
from larder.learning.forecasts import WARM_UP_DAYS, observed_demand
from larder.learning.frames import Bools, Floats
from larder.learning.panel import Panel
from larder.learning.quantiles import fit_quantiles, whole_units
from larder.learning.replay import saving_interval
from larder.learning.surroundings import Known, name_codes, read_surroundings
from loaders.sample.options import SampleOptions

NEW = {"location_id": 6, "item_id": 4}
KIN_DAYS = 28
SEED = 11
TOLD = ("population", "popularity", "trend", "trend_mean_7_days", "trend_change")
LEAST_UNITS = 0.01


@dataclass(frozen=True)
class Forecasts:
    """Hold what is expected of S new pairs on K days, and what is ordered for each (S, K)."""

    expected: Floats
    ordered: Floats


def main() -> None:
    """Print how far each forecast is from what was planted, and judge the library's."""
    simulated = simulate(SampleOptions())
    missed: list[str] = []
    for key, count in NEW.items():
        missed += judge(simulated, key, count)
    if missed:
        sys.exit("missed: " + "; ".join(missed))


def judge(simulated: Simulated, key: str, count: int) -> list[str]:
    """Leave out so many places or items, print each forecast of them, and return what is missed."""
    panel = simulated.network.panel
    names = panel.location_ids if key == "location_id" else panel.item_ids
    chosen = np.random.default_rng(SEED).choice(np.unique(names), count, replace=False)
    new = np.isin(names, chosen)
    first = panel.width - REPLAYED_DAYS
    intensity = simulated.truth.intensity[new, first:]
    found = {**learned(simulated, new, first), "kin": kin(simulated, new, key, first)}
    each = np.unique(names[new], return_inverse=True)[1]
    print(f"{count} new by {key}: {new.sum()} pairs, {intensity.mean():.2f} units a day")
    print(f"{'':10}{'deviance':>10}{'units':>9}{'cost':>9}   with less this (95 % interval)")
    deviance, cost = {}, {}
    for name, one in found.items():
        deviance[name] = float(poisson_deviance(intensity, one.expected).mean())
        cost[name] = newsvendor_cost(simulated, new, intensity, one.ordered).mean(axis=1)
        units = float(one.expected.sum() / intensity.sum())
        line = f"{name:10}{deviance[name]:10.3f}{units:9.3f}{cost[name].mean():9.3f}"
        if name != "with":
            less = saving_interval((cost["with"] - cost[name]) / len(each), each, SURE)
            line += f"   {less.total:+.3f} ({less.low:+.3f} to {less.high:+.3f})"
        print(line, flush=True)
    missed = []
    if deviance["with"] > deviance["kin"]:
        missed.append(f"new by {key}: a worse deviance than that of their kin")
    if cost["with"].mean() > cost["kin"].mean():
        missed.append(f"new by {key}: dearer orders than those of their kin")
    return missed


def kin(simulated: Simulated, new: Bools, key: str, first: int) -> Forecasts:
    """Take what the pairs alike sold on the four weeks before each day: mean, and quantile."""
    panel, ratio = simulated.network.panel, simulated.network.costs.critical_ratio
    alike = panel.item_codes if key == "location_id" else panel.location_codes
    rate = observed_demand(panel, 0, panel.width - 1).rate
    days = range(first, panel.width)
    rows = np.flatnonzero(new)
    expected, ordered = (np.empty((len(rows), len(days))) for _ in range(2))
    for number, row in enumerate(rows):
        known = rate[~new & (alike == alike[row])]
        for day in days:
            lately = known[:, day - KIN_DAYS : day]
            expected[number, day - first] = np.nanmean(lately)
            ordered[number, day - first] = np.nanquantile(lately, ratio[row], method="higher")
    return Forecasts(np.maximum(expected, LEAST_UNITS), np.ceil(ordered))


def learned(simulated: Simulated, new: Bools, first: int) -> dict[str, Forecasts]:
    """Forecast by models of the known pairs, with and without what is told of new ones."""
    network = simulated.network
    frames, panel = network.frames, network.panel
    known = Known(*(frames[name] for name in ("pairs", "calendar", "promotions", "trends")))
    # `read_panel` sorts its pairs in the same way
    of_known = known.pairs.sort_values(["location_id", "item_id"])[~new]
    codes = name_codes(replace(known, pairs=of_known))
    hidden = without_history(panel, new)
    around = read_surroundings(hidden, known, DAYS_AFTER, codes)
    features = demand_features(hidden, around, WARM_UP_DAYS, panel.width - 1)
    seen = observed_demand(hidden, WARM_UP_DAYS, first - 1)
    seen = Observed(seen.units[~new], seen.available[~new], seen.censored[~new])
    split = first - WARM_UP_DAYS
    found = {}
    for name, told in (("with", features), ("without", untold(features))):
        model = fit_quantiles(part(told, ~new, slice(0, split)), seen).model
        later = part(told, new, slice(split, None))
        quantiles = model.predict(later)
        size, days, levels = quantiles.shape
        ratio = np.repeat(network.costs.critical_ratio[new], days)
        ordered = inverse(model.levels, quantiles.reshape(-1, levels), ratio[:, None])
        found[name] = Forecasts(model.expected(later), whole_units(ordered).reshape(size, days))
    return found


def without_history(panel: Panel, new: Bools) -> Panel:
    """Hide all days of some pairs, so that each is as good as their first."""
    cells = {
        name: np.where(new[:, None], 0, getattr(panel, name))
        for name in ("restocked", "sold", "discarded", "missing", "closing", "available")
    }
    flags = {name: getattr(panel, name) & ~new[:, None] for name in ("stocked_out", "observed")}
    return replace(panel, **cells, **flags)


def untold(features: Features) -> Features:
    """Make population, popularity and trend unknown."""
    values = features.values.copy()
    values[:, :, [features.names.index(name) for name in TOLD]] = np.nan
    return replace(features, values=values)


def part(features: Features, rows: Bools, days: slice) -> Features:
    """Take some pairs and days."""
    values, level = features.values[rows][:, days], features.level[rows][:, days]
    return replace(features, values=values, level=level)


def poisson_deviance(intensity: Floats, expected: Floats) -> Floats:
    """Return how far expected units are from the intensity (McCullagh and Nelder 1989, 2.3)."""
    held = np.maximum(intensity, 1e-12)
    return np.asarray(2.0 * (intensity * np.log(held / expected) - intensity + expected))


def newsvendor_cost(simulated: Simulated, new: Bools, intensity: Floats, ordered: Floats) -> Floats:
    """Return the cost expected of orders for one day (S, K) of Poisson demand, in US dollars."""
    costs = simulated.network.costs
    under, over = costs.underage[new, None], costs.overage[new, None]
    mass = poisson_mass(intensity.ravel(), most_units(intensity))
    missed = np.maximum(np.arange(mass.shape[1]) - ordered.reshape(-1, 1), 0.0)
    short = (mass * missed).sum(axis=1).reshape(ordered.shape)
    left = ordered - intensity + short
    return np.asarray(under * short + over * left)


if __name__ == "__main__":
    main()
