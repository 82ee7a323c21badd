"""Learned waste risks and orders beside what is best possible, and what learning them costs.

The sample network knows the demand that was planted in it, and so what nobody can know better.
Learned is from the first 140 days less an embargo of the longest shelf life, tested on the rest:

risk       the probability that what is held at a close ends as waste: its Brier skill against the
           shrunk rate, as a share of the skill of an oracle that knows the planted intensities
decisions  what orders cost in a replay of the last 60 days, beside simpler ways and an oracle
cost       seconds and memory of learning and of scoring a close, and how they grow

    python -m benchmarks waste                           all of it, on a sample network of its own
    python -m benchmarks.waste --home H --only risk      parts of it, on a built one
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import decisions, learning_cost
from benchmarks.decisions import REPLAYED_DAYS, most_units, poisson_mass
from benchmarks.homes import make_home, now, settings_of
from benchmarks.planted import Network, Truth, lay_out, query_frames, read_truth
from larder.build import build
from larder.learning.frames import Bools, Floats
from larder.learning.metrics import brier, brier_skill, expected_calibration_error
from larder.learning.outlook import Outlook, outlook
from larder.learning.training import Learned, learn, outcomes
from larder.learning.waste import fit_waste_rates
from larder.settings import Settings
from loaders.load import load
from loaders.sample.network import SampleOptions

PARTS = ("risk", "decisions", "cost")
LEAST_SKILL_SHARE = 0.60
MOST_CALIBRATION_ERROR = 0.02
UNITS_MARGIN = 0.05


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures of each part, and judge their targets."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, help="of a built sample network; it is only read")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="larder-waste-") as folder:
        settings = settings_of(options.home) if options.home else _build(Path(folder) / "home")
        missed = measure(settings, options.only, Path(folder))
    if missed:
        sys.exit("missed: " + "; ".join(missed))


def measure(settings: Settings, parts: Sequence[str], folder: Path) -> list[str]:
    """Measure parts on a built home, and return the targets missed; `folder` is for big files."""
    network = lay_out(query_frames(settings))
    truth = read_truth(settings.truth_folder, network.panel)
    missed: list[str] = []
    if {"risk", "decisions"} & set(parts):
        start = network.panel.width - REPLAYED_DAYS
        # no outcome of what was learned from lies in a day that is tested
        learned = start - network.horizon
        model = learn(
            network.panel.until(learned - 1),
            network.surroundings,
            network.shelf_life_days,
            network.horizon,
            network.codes,
        )
        print(f"learned from days 1 to {learned}, tested on days {start + 1} on")
        if "risk" in parts:
            missed += judge_risk(network, truth, model, learned)
        if "decisions" in parts:
            missed += decisions.measure(network, truth, model)
    if "cost" in parts:
        missed += learning_cost.measure(network, truth, folder)
    return missed


def judge_risk(network: Network, truth: Truth, model: Learned, learned: int) -> list[str]:
    """Compare probabilities with what happened, and return the targets they miss.

    Args:
        learned: how many days, from the first, the model has learned from.
    """
    panel, life = network.panel, network.shelf_life_days
    held = outlook(
        model.demand,
        panel,
        network.surroundings,
        life,
        panel.width - REPLAYED_DAYS,
        panel.width - 2,
        network.horizon,
    )
    wasted, known = outcomes(held, panel, life)
    happened = (wasted[known] > 0).astype(np.float64)
    rates = fit_waste_rates(panel.until(learned - 1), life).probability[held.pair, : known.shape[1]]
    probability, units = held.risks(model.risk)
    chances = {
        "shrunk rate": rates,
        "outlook alone": held.probability,
        "learned": probability,
        "oracle": oracle_risk(truth, held),
    }
    best = brier_skill(chances["oracle"][known], happened, rates[known])
    print(f"risk: {known.sum()} closes and horizons, {happened.mean():.3f} of them with waste")
    print(f"{'':18}{'Brier':>9}{'skill':>9}{'of best':>9}{'calib.':>9}{'units':>9}")
    expected = {"outlook alone": held.units, "learned": units}
    total = float(wasted[known].sum())
    for name, chance in chances.items():
        skill = brier_skill(chance[known], happened, rates[known])
        figures = [brier(chance[known], happened), skill, skill / best]
        figures.append(expected_calibration_error(chance[known], happened))
        if name in expected:
            figures.append(float(expected[name][known].sum()) / total)
        print(f"{name:18}" + "".join(f"{figure:9.4f}" for figure in figures), flush=True)
    return _missed(probability, units, wasted, known, rates, best)


def _missed(
    probability: Floats, units: Floats, wasted: Floats, known: Bools, rates: Floats, best: float
) -> list[str]:
    happened = (wasted[known] > 0).astype(np.float64)
    missed = []
    share = brier_skill(probability[known], happened, rates[known]) / best
    if share < LEAST_SKILL_SHARE:
        missed.append(f"{share:.3f} of the oracle's skill, not {LEAST_SKILL_SHARE}")
    error = expected_calibration_error(probability[known], happened)
    if error > MOST_CALIBRATION_ERROR:
        missed.append(f"calibration error {error:.3f}, not at most {MOST_CALIBRATION_ERROR}")
    ratio = float(units[known].sum() / wasted[known].sum())
    if abs(ratio - 1) > UNITS_MARGIN:
        missed.append(f"{ratio:.3f} of the wasted units expected, not within {UNITS_MARGIN}")
    return missed


def oracle_risk(truth: Truth, held: Outlook) -> Floats:
    """Compute the probability of waste (N, H) from the planted intensities and the lots held.

    Nothing is wasted for as long as demand, added up, has reached the units expired by then.
    """
    width = truth.intensity.shape[1]
    points = int(held.held.max()) + 1
    sold = np.zeros((len(held.pair), points))
    sold[:, 0] = 1.0
    horizons = held.probability.shape[1]
    chance = np.empty((len(sold), horizons))
    for day in range(horizons):
        # days that have not come have no outcome that is judged either
        column = np.minimum(held.column + day + 1, width - 1)
        mean = truth.intensity[held.pair, column]
        mass = poisson_mass(mean, max(points, most_units(mean)))
        later = np.zeros_like(sold)
        for units in range(points):
            later[:, units:] += mass[:, units : units + 1] * sold[:, : points - units]
        # all that is held is sold, or more were wanted
        later[:, -1] += sold.sum(axis=1) - later.sum(axis=1)
        sold = np.where(np.arange(points) >= held.expiring[:, day : day + 1], later, 0.0)
        chance[:, day] = 1.0 - sold.sum(axis=1)
    return chance


def _build(folder: Path) -> Settings:
    """Write, load and build the sample network."""
    settings = make_home(folder, SampleOptions())
    load(settings, now)
    build(settings)
    return settings


if __name__ == "__main__":
    main()
