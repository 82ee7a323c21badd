"""Whether `larder backtest` says what a plan saves: its 90 % interval against the true saving.

For each of 20 seeds a small sample network is simulated, a model learns from all but its last 60
days, and these are replayed under the plan and as they were. The estimate sees stock and sales
only, as a user's warehouse does; the truth is the same replay on the units that were really wanted,
sold or not. US dollars over the 60 days.

    python -m benchmarks savings
    python -m benchmarks.savings --seeds 3 4    some of them
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.simulated import simulate
from larder.learning.backtest import FOLLOWING_DAYS, Backtest, Terms, backtest, replayed_days
from larder.learning.training import enough_history, learn
from loaders.sample.options import SampleOptions

SEEDS = range(20)
# every fifth place of the sample keeps no stock
PLACES = 12
REPLAYED_DAYS = 60
LEAST_HELD_SHARE = 17 / 20
MOST_BIAS = 0.03


@dataclass(frozen=True)
class Judged:
    """Hold what was estimated of one network, and the same replay on its true demand."""

    estimate: Backtest
    truth: Backtest

    @property
    def is_held(self) -> bool:
        """Whether the interval holds the true saving."""
        return self.holds(self.truth.saving.total)

    def holds(self, saving: float) -> bool:
        """Tell whether the interval holds a saving."""
        return self.estimate.saving.low <= saving <= self.estimate.saving.high

    @property
    def error(self) -> float:
        """How far the estimate is from the true saving, as a share of it."""
        return self.estimate.saving.total / self.truth.saving.total - 1

    @property
    def width(self) -> float:
        """How wide the interval is, as a share of the true saving."""
        saving = self.estimate.saving
        return (saving.high - saving.low) / self.truth.saving.total


def main(arguments: Sequence[str] | None = None) -> None:
    """Print estimate and truth of each seed, and judge how often the interval holds the truth."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    seeds = parser.parse_args(arguments).seeds
    print(f"{'seed':>6}{'true':>9}{'estimate':>10}{'low':>9}{'high':>9}{'held':>6}{'seconds':>9}")
    found = []
    for seed in seeds:
        started = time.perf_counter()
        one = judge(seed)
        found.append(one)
        saving = one.estimate.saving
        figures = f"{seed:6}{one.truth.saving.total:9.0f}{saving.total:10.0f}"
        figures += f"{saving.low:9.0f}{saving.high:9.0f}{'yes' if one.is_held else 'no':>6}"
        print(f"{figures}{time.perf_counter() - started:9.1f}", flush=True)
    missed = summary(found)
    if missed:
        sys.exit("missed: " + "; ".join(missed))


def judge(seed: int) -> Judged:
    """Simulate a network, learn from the days before the replayed, and replay both ways twice.

    Raises:
        ValueError: there is too little to learn from.
    """
    simulated = simulate(SampleOptions(locations=PLACES, seed=seed))
    network = simulated.network
    panel = network.panel
    first = panel.width - REPLAYED_DAYS
    if not enough_history(panel.until(first - 1)):
        raise ValueError(f"the network of seed {seed} has too little to learn from")
    terms = Terms(
        costs=network.costs,
        shelf_life_days=network.shelf_life_days,
        pack_size=network.pack_size,
        # ordered at closing, delivered before opening, every day of the week
        lead_days=np.ones(panel.size, dtype=np.int64),
        delivers=np.ones((panel.size, REPLAYED_DAYS + FOLLOWING_DAYS), dtype=np.bool_),
        capacity=np.full(panel.size, np.nan),
    )
    learned = learn(
        panel.until(first - 1),
        network.surroundings,
        network.shelf_life_days,
        network.horizon,
        network.codes,
    )
    days = replayed_days(learned, panel, network.surroundings, terms, first)
    return Judged(backtest(days), backtest(days, simulated.wanted[:, first:]))


def summary(found: Sequence[Judged]) -> list[str]:
    """Print how good the intervals are, and return what they miss."""
    held = sum(one.is_held for one in found)
    errors = np.array([one.error for one in found])
    bias = float(errors.mean())
    width = float(np.mean([one.width for one in found]))
    print(f"the interval of 90 % holds the true saving {held} of {len(found)} times")
    print(f"the estimate is off by {np.abs(errors).mean():.3f} of it, on average by {bias:+.3f}")
    print(f"the interval is {width:.3f} of the true saving wide", end="")
    if len(found) > 1:
        # what such places save on average, as well as can be known without these
        true = np.array([one.truth.saving.total for one in found])
        usual = (true.sum() - true) / (len(true) - 1)
        also = sum(one.holds(other) for one, other in zip(found, usual, strict=True))
        print(f", for it is of places like these: it holds what others save {also} times", end="")
    print()
    missed = []
    if held < LEAST_HELD_SHARE * len(found):
        missed.append(f"held {held} of {len(found)} times, not {LEAST_HELD_SHARE:.0%}")
    if abs(bias) > MOST_BIAS:
        missed.append(f"a bias of {bias:+.3f}, not within {MOST_BIAS}")
    return missed


if __name__ == "__main__":
    main()
