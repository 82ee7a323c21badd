"""The hourly case: does a day of new events cost the same after ten times the history?

Two warehouses hold the same network, one with 20 days and one with 200 days behind it (about 1
and 10 million stock events). Both then get one more day, about 50,000 events. Measured is what
that day costs: load time plus the models' execution times, the median of several runs from the
same copy; tests and publish are shown beside it. Target: the ratio is at most 1.5.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.homes import copy_home, make_home, model_seconds, now, test_seconds
from larder.build import build
from larder.serving.publish import publish
from larder.settings import Settings
from loaders.load import load
from loaders.sample.network import SampleOptions

MOST_RATIO = 1.5
ENTITY = "fridge/stock_events"  # a file a day


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the cost of the same day after two histories, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--locations", type=int, default=700)
    parser.add_argument("--days", type=int, nargs=2, default=(20, 200))
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="larder-hourly-") as folder:
        measured = [
            _measure(Path(folder) / f"days-{days}", days, options.locations, options.runs)
            for days in options.days
        ]
    short, long = measured
    print(
        f"ratio of a day's cost after the long history to the short: {long / short:.2f} "
        f"(≤ {MOST_RATIO})"
    )
    if long > MOST_RATIO * short:
        sys.exit(1)


def _measure(folder: Path, days: int, locations: int, runs: int) -> float:
    settings = make_home(folder, SampleOptions(days=days + 1, locations=locations))
    late = _set_last_day_aside(settings)
    loaded = load(settings, now)
    # other feeds know of the last day already; the clock must not, for the new day is to end one
    build(settings.model_copy(update={"as_of": _start_of_last_day(late)}))
    records = loaded.entities[ENTITY].records
    costs = []
    for number in range(runs):
        copy = copy_home(settings, folder.with_name(f"{folder.name}-run"))
        shutil.copy2(late, copy.landing_folder / ENTITY)
        started = time.monotonic()
        added = load(copy, now)
        load_seconds = time.monotonic() - started
        build(copy)
        models = model_seconds(copy)
        started = time.monotonic()
        publish(copy, now())
        publish_seconds = time.monotonic() - started
        costs.append(load_seconds + sum(models.values()))
        slowest = sorted(models.items(), key=lambda item: -item[1])[:5]
        print(
            f"{days} days, {records:,} events before, "
            f"{added.entities[ENTITY].records:,} new, run {number + 1}: "
            f"load {load_seconds:.2f} s + models {sum(models.values()):.2f} s; "
            f"tests {test_seconds(copy):.2f} s, publish {publish_seconds:.2f} s; slowest: "
            + ", ".join(f"{name} {seconds:.2f}" for name, seconds in slowest)
        )
    shutil.rmtree(folder)
    return statistics.median(costs)


def _start_of_last_day(late: Path) -> datetime:
    """Return an hour of the night before the last day, in the time zones of the sample network."""
    return datetime.fromisoformat(late.name[:10]).replace(hour=6, tzinfo=UTC)


def _set_last_day_aside(settings: Settings) -> Path:
    """Move the file of the last day out of the landing zone and return it."""
    last = max((settings.landing_folder / ENTITY).iterdir(), key=lambda file: file.name)
    aside = settings.home / "late" / last.name
    aside.parent.mkdir()
    last.replace(aside)
    return aside


if __name__ == "__main__":
    main()
