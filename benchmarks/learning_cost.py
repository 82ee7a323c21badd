"""What learning and scoring a close cost, each in a process of its own, and how that grows.

Ten times the pairs are those of the sample at ten times the places, under the sample's own
stocking policy with demand drawn anew from the planted intensity.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.decisions import SALES_DAYS, stocking_policy
from benchmarks.planted import (
    PATHS,
    Network,
    Truth,
    lay_out,
    planned_units,
    read_frames,
    write_frames,
)
from larder.learning.distribution import demand_paths
from larder.learning.forecasts import days_ahead
from larder.learning.lots import expiring_units
from larder.learning.outlook import outlook
from larder.learning.replay import replay
from larder.learning.training import Learned, learn

TIMES = 10
MOST_LEARN_SECONDS = 120
MOST_LEARN_BYTES = 2_000_000_000
MOST_SCORE_SECONDS = 10
SEED = 5
PARTS = ("risk.json", "demand.json")


def measure(network: Network, truth: Truth, folder: Path) -> list[str]:
    """Print seconds and memory for the network and for ten times it, and return what is missed."""
    print(f"cost: {'pairs':>12}{'step':>8}{'seconds':>10}{'MB':>8}")
    found = {}
    for times in (1, TIMES):
        place = folder / f"times-{times}"
        write_frames(network.frames if times == 1 else enlarged(network, truth, times), place)
        for step in ("learn", "score"):
            found[times, step] = _run(place, step)
            seconds, size = found[times, step]
            pairs = f"{network.panel.size * times:,}"
            print(f"      {pairs:>12}{step:>8}{seconds:10.1f}{size / 1e6:8,.0f}", flush=True)
    for step in ("learn", "score"):
        growth = [
            large / small for small, large in zip(found[1, step], found[TIMES, step], strict=True)
        ]
        print(f"{step}: {growth[0]:.1f} times the seconds, {growth[1]:.1f} times the memory")
    missed = []
    if found[1, "learn"][0] > MOST_LEARN_SECONDS:
        missed.append(f"{found[1, 'learn'][0]:.0f} s to learn, not {MOST_LEARN_SECONDS}")
    if found[1, "learn"][1] > MOST_LEARN_BYTES:
        missed.append(f"{found[1, 'learn'][1] / 1e9:.1f} GB to learn, not {MOST_LEARN_BYTES / 1e9}")
    if found[1, "score"][0] > MOST_SCORE_SECONDS:
        missed.append(f"{found[1, 'score'][0]:.0f} s to score a close, not {MOST_SCORE_SECONDS}")
    return missed


def enlarged(network: Network, truth: Truth, times: int) -> dict[str, pd.DataFrame]:
    """Make the frames of so many times the places."""
    pairs = network.frames["pairs"].sort_values(["location_id", "item_id"])
    copies = [
        pairs.assign(
            location_id=pairs["location_id"] + f"-{number}",
            pair_number=np.arange(len(pairs)) + number * len(pairs),
        )
        for number in range(times)
    ]
    intensity = np.tile(truth.intensity, (times, 1))
    wanted = np.random.default_rng(SEED).poisson(intensity).astype(np.float64)
    life = np.tile(network.shelf_life_days, times)
    places = Truth(intensity, np.tile(truth.stocking_bias, times))
    outcome = replay(
        wanted,
        np.zeros((len(life), network.horizon)),
        life,
        np.ones(wanted.shape, dtype=np.bool_),
        stocking_policy(life, places, intensity[:, :SALES_DAYS], wanted),
    )
    size, width = wanted.shape
    open_minutes = 960.0
    missed_share = np.divide(
        outcome.missed, wanted, out=np.zeros(wanted.shape), where=outcome.missed > 0
    )
    cells = {
        "restocked_units": outcome.ordered,
        "sold_units": outcome.sold,
        "discarded_units": outcome.wasted,
        "adjusted_units": np.zeros(wanted.shape),
        "closing_units": np.cumsum(outcome.ordered - outcome.sold - outcome.wasted, axis=1),
        "is_stocked_out": outcome.missed > 0,
        "stocked_out_minutes": open_minutes * missed_share,
        "open_minutes": np.full(wanted.shape, open_minutes),
    }
    stock_days = pd.DataFrame(
        {
            "pair_number": np.repeat(np.arange(size), width),
            "days_ago": np.tile(np.arange(width - 1, -1, -1), size),
            **{name: values.ravel() for name, values in cells.items()},
        }
    )
    return {**network.frames, "pairs": pd.concat(copies), "days": stock_days}


def run_learn(folder: Path) -> float:
    """Learn from the frames of a folder, write the model there, and return the seconds."""
    network = lay_out(read_frames(folder))
    started = time.perf_counter()
    model = learn(
        network.panel,
        network.surroundings,
        network.shelf_life_days,
        network.horizon,
        network.codes,
    )
    seconds = time.perf_counter() - started
    for name, text in zip(PARTS, model.to_parts(), strict=True):
        (folder / name).write_text(text, encoding="utf-8")
    return seconds


def run_score(folder: Path) -> float:
    """Score the last close by the model of a folder, and return the seconds: risks and orders."""
    network = lay_out(read_frames(folder))
    model = Learned.from_parts(*((folder / name).read_text(encoding="utf-8") for name in PARTS))
    panel, surroundings, horizon = network.panel, network.surroundings, network.horizon
    last = panel.width - 1
    started = time.perf_counter()
    held = outlook(model.demand, panel, surroundings, network.shelf_life_days, last, last, horizon)
    held.risks(model.risk)
    forecasts = days_ahead(model.demand, panel, surroundings, last, last, horizon)
    quantiles = np.concatenate([one.quantiles for one in forecasts], axis=1)
    due = expiring_units(panel, network.shelf_life_days, horizon)[:, last]
    paths = demand_paths(model.demand.levels, quantiles, PATHS, 0)
    planned_units(network, paths, np.diff(due, axis=1, prepend=0.0))
    return time.perf_counter() - started


def _run(folder: Path, step: str) -> tuple[float, float]:
    """Return the seconds of a step, and the most bytes that its process held."""
    finished = subprocess.run(
        [sys.executable, "-m", "benchmarks.learning_cost", str(folder), step],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    seconds, size = json.loads(finished.stdout.splitlines()[-1])
    return seconds, size


def main() -> None:
    """Run one step, and print its seconds and the bytes of this process."""
    folder, step = Path(sys.argv[1]), sys.argv[2]
    seconds = {"learn": run_learn, "score": run_score}[step](folder)
    # not `ru_maxrss`, which a process inherits from a larger one that started it
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = re.findall(r"VmHWM:\s+(\d+) kB", status)
    print(json.dumps([seconds, int(peak[0]) * 1024]))


if __name__ == "__main__":
    main()
