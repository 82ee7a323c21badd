"""What does a lake cost the host when its tables come from Snowflake?

Two sample networks of the same age are built and published, on DuckDB and on the emulated Snowflake
of the tests, and a lake is written of each: seconds of this machine's processors without those of
the emulator, which is a process of its own, and the most memory. `benchmarks.scale` counts with the
seconds (`LAKE` there): put them in when they change.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.homes import make_home, now
from benchmarks.scale_measured import peak_bytes
from larder.build import build
from larder.serving.generations import generations
from larder.serving.lake import bring_up_to_date
from larder.settings import PROJECT_ROOT, Settings
from loaders.load import load
from loaders.sample.network import SampleOptions

EMULATED = PROJECT_ROOT / "tests" / "python" / "production"
ENTITY = "fridge/stock_events"
PLACES = (35, 280)
MEMORY_LIMIT = "200MB"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what a lake costs, from either engine, for a small network and a larger one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=20)
    parser.add_argument("--write", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.write:
        print(json.dumps(_write(Settings.model_validate_json(options.write))))
        return
    sys.path.insert(0, str(EMULATED))
    from conftest import emulated_account
    from copied_builds import copy_build

    for places in PLACES:
        with tempfile.TemporaryDirectory(prefix="larder-lake-") as name:
            folder = Path(name)
            here = make_home(folder / "here", SampleOptions(days=options.days, locations=places))
            events = load(here, now).entities[ENTITY].records
            build(here)
            generations(here).publish(here, now())
            (folder / "account").mkdir()
            with emulated_account(folder / "account") as account:
                there = account.settings(folder / "there", folder / "key")
                there.home.mkdir()
                copy_build(here.build_database, there, folder / "copied", ["marts"])
                generations(there).publish(there, now())
                for engine, settings in (("DuckDB", here), ("Snowflake", there)):
                    _report(engine, events, _measure(settings, folder / f"lake of {engine}"))


def _report(engine: str, events: int, found: dict[str, Any]) -> None:
    print(
        f"{engine}: {found['seconds']:.2f} s for {events:,} events in {found['rows']:,} rows "
        f"({found['bytes'] / 1e6:.1f} MB), {found['peak_bytes'] / 1e6:.0f} MB of memory",
        flush=True,
    )


def _measure(settings: Settings, lake: Path) -> dict[str, Any]:
    """Write a lake in a process of its own, whose seconds and memory are nobody else's."""
    told = settings.model_copy(update={"lake": str(lake), "memory_limit": MEMORY_LIMIT})
    finished = subprocess.run(
        [sys.executable, "-m", "benchmarks.lake", "--write", told.model_dump_json()],
        cwd=PROJECT_ROOT,
        env=os.environ,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(finished.stdout)
    return found


def _write(settings: Settings) -> dict[str, Any]:
    started = time.process_time()
    made = bring_up_to_date(settings)
    seconds = time.process_time() - started
    assert made is not None
    return {
        "seconds": seconds,
        "rows": sum(table.rows for table in made.tables),
        "bytes": sum(file.size_bytes for table in made.tables for file in table.files),
        "peak_bytes": peak_bytes(),
    }


if __name__ == "__main__":
    main()
