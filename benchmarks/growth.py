"""How much memory a build of a long history takes, and what an hour more costs after it.

All models of a kind of event are built from nothing by a dbt of its own, whose peak memory is read
from the kernel (VmHWM). Then one more hour comes, after a tenth of the history and after all of it:
measured is what the models cost for it, the median of several runs from the same copy.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from benchmarks.homes import copy_home, model_seconds, now, settings_of
from larder.build import target_folder
from larder.settings import PROJECT_ROOT, Settings
from loaders.load import load

MOST_MEMORY_GB = 4.0
MOST_RATIO = 1.5


@dataclass(frozen=True)
class Kind:
    """Describe events: their entity, the models of theirs and how to write a history.

    `write` gets a home, a number of events and how many come at once, and leaves the landing files
    of all but the last hour, which is to lie in `hour_of`; the shortest one that it can write has
    `least` events for each of those that come at once. `counts` is SQL for one text over the build.
    `whole` are the models that are made whole each time, which the ratio leaves out: what
    they cost is told by the million events.
    """

    name: str
    entity: str
    selected: tuple[str, ...]
    write: Callable[[Settings, int, int], None]
    counts: str
    least: int = 1
    whole: frozenset[str] = frozenset()


def hour_of(settings: Settings) -> Path:
    """Return where the hour that comes later waits."""
    return settings.home / "hour.ndjson"


def measure(
    kind: Kind, description: str, events: int, at_once: int, arguments: Sequence[str] | None
) -> None:
    """Print the memory of a full build and the cost of an hour after two histories."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--events", type=int, default=events)
    parser.add_argument("--at-once", type=int, default=at_once)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args(arguments)
    least = 10 * kind.least * options.at_once
    if options.events < least:
        parser.error(
            f"a tenth of --events is the shorter history: give at least {least:,}, or fewer "
            f"--at-once than {options.at_once}"
        )
    with tempfile.TemporaryDirectory(prefix=f"larder-{kind.name}-") as folder:
        homes = {
            name: _prepare(kind, Path(folder) / name, number, options.at_once)
            for name, number in (("short", options.events // 10), ("long", options.events))
        }
        memory_gb = max(built for _, built in homes.values())
        costs: dict[str, list[float]] = {name: [] for name in homes}
        # in turns: a machine that slows down slows both
        for _ in range(options.runs):
            for name, (settings, _) in homes.items():
                costs[name].append(_cost_of_an_hour(kind, settings, name))
    ratio = statistics.median(costs["long"]) / statistics.median(costs["short"])
    print(f"peak memory of a build of all: {memory_gb:.2f} GB (≤ {MOST_MEMORY_GB})")
    print(f"ratio of an hour's cost after all to after a tenth: {ratio:.2f} (≤ {MOST_RATIO})")
    if memory_gb > MOST_MEMORY_GB or ratio > MOST_RATIO:
        sys.exit(1)


def _prepare(kind: Kind, folder: Path, events: int, at_once: int) -> tuple[Settings, float]:
    """Load and build the history; return its home and the peak memory of the build, GB."""
    settings = settings_of(folder)
    (settings.landing_folder / kind.entity).mkdir(parents=True)
    kind.write(settings, events, at_once)
    started = time.monotonic()
    loaded = load(settings, now).entities[kind.entity].records
    seconds = time.monotonic() - started
    # what is loaded stays loaded, and copies of the home are smaller without
    shutil.rmtree(settings.landing_folder)
    started = time.monotonic()
    memory_gb = _build(kind, settings)
    print(
        f"{loaded:,} {kind.name}: load {seconds:.0f} s, models {time.monotonic() - started:.0f} s, "
        f"{memory_gb:.2f} GB; {_counts(kind, settings)}{_slowest(model_seconds(settings))}",
        flush=True,
    )
    return settings, memory_gb


def _build(kind: Kind, settings: Settings) -> float:
    """Build the models of the kind in a process of its own, and return its peak memory in GB."""
    command = [sys.executable, "-c", DBT, str(target_folder(settings, "build"))]
    command += ["--log-path", str(settings.logs_folder / "dbt"), "--select", *kind.selected]
    outcome = subprocess.run(
        command,
        env=os.environ | {"LARDER_HOME": str(settings.home), "LARDER_AS_OF": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    if outcome.returncode:
        sys.exit(outcome.stdout[-3000:] + outcome.stderr[-2000:])
    return int(outcome.stdout.rpartition("VmHWM")[2].split()[0]) / 1e6


def _cost_of_an_hour(kind: Kind, settings: Settings, name: str) -> float:
    """Build the hour on a copy, and return the seconds of the models that are incremental."""
    copy = copy_home(settings, settings.home.with_name("run"))
    file = copy.landing_folder / kind.entity / "hour.ndjson"
    file.parent.mkdir(parents=True)
    shutil.copy2(hour_of(copy), file)
    added = load(copy, now).entities[kind.entity].records
    memory_gb = _build(kind, copy)
    seconds = model_seconds(copy)
    whole = {model: seconds.pop(model) for model in kind.whole}
    print(
        f"{name}: {added:,} new {kind.name}, {memory_gb:.2f} GB; models "
        f"{sum(seconds.values()):.2f} s{_slowest(seconds)}"
        + (f"; made whole {sum(whole.values()):.2f} s{_slowest(whole)}" if whole else ""),
        flush=True,
    )
    return sum(seconds.values())


def _slowest(seconds: dict[str, float]) -> str:
    slowest = sorted(seconds.items(), key=lambda item: -item[1])[:5]
    return f" ({', '.join(f'{model} {one:.2f}' for model, one in slowest)})"


def _counts(kind: Kind, settings: Settings) -> str:
    with duckdb.connect(str(settings.build_database), read_only=True) as connection:
        ((counts,),) = connection.execute(kind.counts).fetchall()
    return str(counts)


DBT = f"""
import sys
from pathlib import Path
from dbt.cli.main import dbtRunner
target, *options = sys.argv[1:]
result = dbtRunner().invoke([
    "build", *options, "--target-path", target,
    "--exclude-resource-type", "test", "--exclude-resource-type", "unit_test",
    "--project-dir", {str(PROJECT_ROOT)!r}, "--profiles-dir", {str(PROJECT_ROOT / "profiles")!r},
])
print("VmHWM", Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
sys.exit(not result.success)
"""
