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
    costs: dict[int, list[float]] = {days: [] for days in options.days}
    with tempfile.TemporaryDirectory(prefix="larder-hourly-") as folder:
        homes = {days: _prepare(Path(folder), days, options.locations) for days in options.days}
        # in turns: a machine that slows down slows both
        for number in range(options.runs):
            for days, (settings, late) in homes.items():
                costs[days].append(_cost_of_a_day(settings, late, f"{days} days, run {number + 1}"))
    short, long = (statistics.median(costs[days]) for days in options.days)
    print(
        f"ratio of a day's cost after the long history to the short: {long / short:.2f} "
        f"(≤ {MOST_RATIO})"
    )
    if long > MOST_RATIO * short:
        sys.exit(1)


def _prepare(folder: Path, days: int, locations: int) -> tuple[Settings, Path]:
    """Build all but the last day, and return its file."""
    # without trips and clicks: what a day of stock events costs is measured
    options = SampleOptions(days=days + 1, locations=locations, recent_days=0)
    settings = make_home(folder / f"days-{days}", options)
    late = set_last_day_aside(settings)
    loaded = load(settings, now)
    print(f"{days} days: {loaded.entities[ENTITY].records:,} events", flush=True)
    # other feeds know of the last day already; the clock must not, for the new day is to end one
    build(settings.model_copy(update={"as_of": start_of_last_day(late)}))
    return settings, late


def _cost_of_a_day(settings: Settings, late: Path, label: str) -> float:
    """Load and build the last day on a copy, and return the seconds of the load and the models."""
    copy = copy_home(settings, settings.home.with_name("run"))
    shutil.copy2(late, copy.landing_folder / ENTITY)
    started = time.monotonic()
    added = load(copy, now)
    load_seconds = time.monotonic() - started
    build(copy)
    models = model_seconds(copy)
    started = time.monotonic()
    publish(copy, now())
    publish_seconds = time.monotonic() - started
    slowest = sorted(models.items(), key=lambda item: -item[1])[:5]
    print(
        f"{label}: {added.entities[ENTITY].records:,} new events, load {load_seconds:.2f} s + "
        f"models {sum(models.values()):.2f} s; tests {test_seconds(copy):.2f} s, publish "
        f"{publish_seconds:.2f} s; slowest: "
        + ", ".join(f"{name} {seconds:.2f}" for name, seconds in slowest),
        flush=True,
    )
    return load_seconds + sum(models.values())


def start_of_last_day(late: Path) -> datetime:
    """Return an hour of the night before the last day, in the time zones of the sample network."""
    return datetime.fromisoformat(late.name[:10]).replace(hour=6, tzinfo=UTC)


def set_last_day_aside(settings: Settings) -> Path:
    """Move the file of the last day out of the landing zone and return it."""
    last = max((settings.landing_folder / ENTITY).iterdir(), key=lambda file: file.name)
    aside = settings.home / "late" / last.name
    aside.parent.mkdir()
    last.replace(aside)
    return aside


if __name__ == "__main__":
    main()
