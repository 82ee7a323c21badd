"""Many small files: what do 5,000 segments cost a build more than one large one?

The same stock events land once as one file and once as 5,000. Then goes on what `larder run` does:
audit, compaction, build. Measured is the whole build, models and tests, the median of several full
builds each in turn; target: at most 2 s more. Load, audit and compaction, which happen once, are
shown beside it, and so is a build of what has not been compacted, as plain dbt without the audit
would find it.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import duckdb

from benchmarks.homes import make_home, model_seconds, now
from larder.build import build
from larder.settings import Settings
from loaders.audit import audit
from loaders.compaction import compact
from loaders.load import load
from loaders.sample.network import SampleOptions

ENTITY = "fridge/stock_events"
MOST_EXTRA_SECONDS = 2.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the build times over one and over many segments, and the difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--segments", type=int, default=5_000)
    parser.add_argument("--days", type=int, default=200)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="larder-segments-") as folder:
        homes = {
            count: _prepare(Path(folder) / str(count), count, options.days)
            for count in (1, options.segments)
        }
        for count, settings in homes.items():
            print(f"{count} segments, not compacted: build {_build_seconds(settings):.2f} s")
        for count, settings in homes.items():
            _audit_and_compact(settings, count)
        times: dict[int, list[float]] = {count: [] for count in homes}
        for number in range(options.runs):
            for count, settings in homes.items():
                seconds = _build_seconds(settings)
                times[count].append(seconds)
                print(
                    f"{count} segments, run {number + 1}: build {seconds:.2f} s, of that models "
                    f"{sum(model_seconds(settings).values()):.2f} s"
                )
    medians = {count: statistics.median(seconds) for count, seconds in times.items()}
    extra = medians[options.segments] - medians[1]
    print(f"{options.segments} segments cost a build {extra:+.2f} s (≤ {MOST_EXTRA_SECONDS})")
    if extra > MOST_EXTRA_SECONDS:
        sys.exit(1)


def _build_seconds(settings: Settings) -> float:
    settings.build_database.unlink(missing_ok=True)
    started = time.monotonic()
    build(settings)
    return time.monotonic() - started


def _audit_and_compact(settings: Settings, count: int) -> None:
    started = time.monotonic()
    summary = audit(settings, now)
    audited = time.monotonic()
    compacted = compact(settings, now)
    print(
        f"{count} files: audit {audited - started:.1f} s ({len(summary.held)} segments held), "
        f"compaction of {compacted.parts:,} into {compacted.segments} "
        f"{time.monotonic() - audited:.1f} s"
    )


def _prepare(folder: Path, count: int, days: int) -> Settings:
    settings = make_home(folder, SampleOptions(days=days))
    load(settings, now)
    segments = settings.raw_folder / ENTITY
    with duckdb.connect() as connection:
        lines = connection.execute(
            f"select payload from read_parquet('{segments}/*/*.parquet') "
            "where payload is not null and rejection_reason is null order by natural_key"
        ).fetchall()
    shutil.rmtree(segments)
    shutil.rmtree(settings.landing_folder / ENTITY)
    (settings.landing_folder / ENTITY).mkdir()
    size = -(-len(lines) // count)
    for number in range(count):
        path = settings.landing_folder / ENTITY / f"part-{number:05}.ndjson"
        part = lines[number * size : (number + 1) * size]
        path.write_text("".join(f"{line}\n" for (line,) in part), encoding="utf-8")
    started = time.monotonic()
    load(settings, now)
    print(f"{count} files of {len(lines):,} events in all: load {time.monotonic() - started:.1f} s")
    return settings


if __name__ == "__main__":
    main()
