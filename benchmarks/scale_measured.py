"""Measure what each step costs, in seconds of processors, for `benchmarks.scale` to count with.

    python -m benchmarks.scale_measured

Three sample networks: a small one, one of eight times the places, and that with a longer history.
Of each all but the last day are loaded and built, then the last day. Every step is a process of its
own, and what is counted is its user and system time, not the wall: others may use the machine. dbt
runs one node after the other, so that each has its own seconds. Takes a quarter of an hour; the
figures go to benchmarks/scale_measured.json.

Histories are too short for a training; what learning and learned scores cost is measured by
`python -m benchmarks.waste --only cost`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.homes import copy_home, make_home, now, settings_of
from benchmarks.hourly import ENTITY, set_last_day_aside, start_of_last_day
from benchmarks.simulated import simulate
from larder.build_state import fingerprint
from larder.learning.forecasts import WARM_UP_DAYS, training_features
from larder.serving.publish import publish
from larder.settings import PROJECT_ROOT, Settings
from loaders import upload
from loaders.audit import audit
from loaders.ledger import Ledger
from loaders.load import load
from loaders.sample.network import SampleOptions
from loaders.vault import open_vault

FIGURES = PROJECT_ROOT / "benchmarks" / "scale_measured.json"
# (places, days of history before the one day that is measured)
NETWORKS = ((35, 20), (280, 20), (280, 80))
# The same day is built so often, each time from the same state; the least seconds count.
RUNS = 2
MANY_SEGMENTS = 20_000
MANY_PERSONS = 200_000


@dataclass(frozen=True)
class Home:
    """Say what one network cost: a first build of its history, then one more day."""

    places: int
    days: int
    pairs: int
    history_events: int
    day_events: int
    stock_days: int
    nodes: int
    # of the stock events of the history
    landing_bytes: int
    gzip_bytes: int
    segment_bytes: int
    upload_bytes: int
    upload_seconds: float
    build_bytes: int
    published_bytes: int
    load_seconds: float
    first_build_seconds: float
    first_build_peak_bytes: int
    day_build_peak_bytes: int
    # step → seconds of one more day; a model or a test is `<layer>/<name>`
    day_seconds: dict[str, float]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every network and write the figures down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("networks", "particulars"))
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.step:
        print(json.dumps(_step(*options.step)))
        return
    found = json.loads(FIGURES.read_text(encoding="utf-8")) if options.only else {}
    found |= {"measured_on": f"{now():%Y-%m-%d}", "machine": _machine()}
    with tempfile.TemporaryDirectory(prefix="larder-scale-") as name:
        if options.only != "networks":
            for step in ("segments", "persons", "features"):
                found |= _run(step, Path(name) / step)["figures"]
        if options.only != "particulars":
            found["homes"] = [
                asdict(_measure(Path(name) / f"{places}-{days}", places, days))
                for places, days in NETWORKS
            ]
    FIGURES.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _measure(folder: Path, places: int, days: int) -> Home:
    # without trips and clicks: an event of the page is a stock event
    settings = make_home(folder, SampleOptions(days=days + 1, locations=places, recent_days=0))
    late = set_last_day_aside(settings)
    first_load = _run("load", folder)
    found = _run("sizes", folder)
    first_build = _run("build", folder, start_of_last_day(late).isoformat())
    _run("audit", folder)
    _run("publish", folder)
    seconds: dict[str, float] = {}
    for _ in range(RUNS):
        day = copy_home(settings, folder.with_name("day"))
        shutil.copy2(late, day.landing_folder / ENTITY)
        steps = {step: _run(step, day.home) for step in ("load", "audit", "build", "publish")}
        one = steps["build"]["node_seconds"] | {
            step: result["seconds"] for step, result in steps.items() if step != "build"
        }
        seconds = {name: min(value, seconds.get(name, value)) for name, value in one.items()}
    counts = _run("count", day.home)
    return Home(
        places=places,
        days=days,
        pairs=counts["pairs"],
        history_events=first_load["events"],
        day_events=steps["load"]["events"],
        stock_days=counts["stock_days"],
        # those of every later build: unit tests are in the first only
        nodes=len(steps["build"]["node_seconds"]),
        **found["figures"],
        build_bytes=day.build_database.stat().st_size,
        published_bytes=day.published_database.stat().st_size,
        load_seconds=first_load["seconds"],
        first_build_seconds=round(sum(first_build["node_seconds"].values()), 1),
        first_build_peak_bytes=first_build["peak_bytes"],
        day_build_peak_bytes=steps["build"]["peak_bytes"],
        day_seconds={name: round(value, 4) for name, value in seconds.items()},
    )


def _run(step: str, folder: Path, *arguments: str) -> dict[str, Any]:
    """Run a step in a process of its own, as if nothing else were configured."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("LARDER_")}
    finished = subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmarks.scale_measured",
            "--step",
            step,
            str(folder),
            *arguments,
        ],
        cwd=PROJECT_ROOT,
        env=others | {"LARDER_HOME": str(folder), "GX_ANALYTICS_ENABLED": "false"},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if finished.returncode != 0:
        sys.exit(f"{step} failed:\n{finished.stdout[-5000:]}")
    found: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return found


def _step(name: str, folder: str, as_of: str = "") -> dict[str, Any]:
    settings = settings_of(Path(folder))
    steps: dict[str, Callable[[Settings], dict[str, Any]]] = {
        "load": _load,
        "sizes": _sizes,
        "audit": lambda known: {"held": len(audit(known, now).held)},
        "publish": lambda known: {"generation": publish(known, now()).generation},
        "count": _count,
        "segments": _many_segments,
        "persons": _many_persons,
        "features": _features,
        "build": lambda known: _build(known, as_of),
    }
    started = time.process_time()
    found = steps[name](settings)
    return {"seconds": time.process_time() - started, **found, "peak_bytes": peak_bytes()}


def _load(settings: Settings) -> dict[str, Any]:
    return {"events": load(settings, now).entities[ENTITY].records}


def _sizes(settings: Settings) -> dict[str, Any]:
    """Say how large stock events are as lines, zipped, as segments, and as an upload."""
    events = [one for one in upload._segments(settings.raw_folder) if one.name.startswith(ENTITY)]
    size, started = 0, time.process_time()
    for batch in upload._batches(events):
        target = settings.home / "upload.parquet"
        upload._write_rows(settings, batch, target)
        size += target.stat().st_size
        target.unlink()
    seconds = time.process_time() - started
    plain = zipped = 0
    for one in events:
        lines = pq.read_table(one.path, columns=["payload"], partitioning=None)["payload"]
        text = "".join(f"{line}\n" for line in lines.to_pylist() if line).encode()
        plain, zipped = plain + len(text), zipped + len(gzip.compress(text, 6))
    return {
        "figures": {
            "landing_bytes": plain,
            "gzip_bytes": zipped,
            "segment_bytes": sum(one.size for one in events),
            "upload_bytes": size,
            "upload_seconds": seconds,
        }
    }


def _build(settings: Settings, as_of: str) -> dict[str, Any]:
    """Build and test one node after the other, and take the time of each."""
    from dbt.cli.main import dbtRunner

    os.environ["LARDER_AS_OF"] = as_of
    seconds: dict[str, float] = {}
    started = 0.0

    def listen(event: Any) -> None:
        nonlocal started
        if event.info.name == "NodeStart":
            started = time.process_time()
        elif event.info.name == "NodeFinished":
            node = event.data.node_info
            kind = node.resource_type
            layer = Path(node.node_path).parts[0] if kind == "model" else kind
            seconds[f"{layer}/{node.node_name}"] = time.process_time() - started

    result = dbtRunner(callbacks=[listen]).invoke(
        [
            *("build", "--threads", "1", "--quiet"),
            *("--project-dir", str(PROJECT_ROOT), "--profiles-dir", str(PROJECT_ROOT / "profiles")),
            *(
                "--target-path",
                str(settings.home / "dbt"),
                "--log-path",
                str(settings.home / "logs"),
            ),
        ]
    )
    if not result.success:
        sys.exit(f"the build failed: {result.exception}")
    return {"node_seconds": seconds}


def _count(settings: Settings) -> dict[str, Any]:
    import duckdb

    with duckdb.connect(str(settings.build_database), read_only=True) as connection:
        rows = connection.execute(
            "select count(*), count(distinct (location_id, item_id)) from marts.fct_stock_days"
        ).fetchall()
    return {"stock_days": rows[0][0], "pairs": rows[0][1]}


def _many_segments(settings: Settings) -> dict[str, Any]:
    """Look at many segments as a run does: the ledger twice, and the fingerprint of the build."""
    folder = settings.raw_folder / ENTITY / "process_hour=2019-04-30T00"
    folder.mkdir(parents=True)
    known = {}
    for number in range(MANY_SEGMENTS):
        path = folder / f"{number:064x}.parquet"
        path.touch()
        origin = {"source_file": f"{ENTITY}/{number}.ndjson", "sha256": "0" * 64, "size": 1}
        known[path.relative_to(settings.raw_folder).as_posix()] = [
            f"{path.stat().st_mtime_ns}",
            [{**origin, "modified_ns": number}],
        ]
    (settings.raw_folder / "_ledger.json").write_text(json.dumps(known), encoding="utf-8")
    started = time.process_time()
    ledger = Ledger(settings.raw_folder).read()
    ledger.read().write_cache()
    fingerprint(settings)
    seconds = time.process_time() - started
    return {"figures": {"per_segment_seconds": seconds / MANY_SEGMENTS}}


def _many_persons(settings: Settings) -> dict[str, Any]:
    """Ask the vault for persons that it has never heard of, by the thousand, as a load does."""
    settings.home.mkdir(parents=True)
    started = time.process_time()
    with open_vault(settings) as vault:
        for first in range(0, MANY_PERSONS, 2_000):
            vault.tokens("commerce", [f"C{first + number:09}" for number in range(2_000)])
        vault.sync()
    seconds = time.process_time() - started
    return {"figures": {"per_person_seconds": seconds / MANY_PERSONS}}


def _features(_: Settings) -> dict[str, Any]:
    """Describe all stock days of a network as learning does, and see how far memory rises."""
    network = simulate(SampleOptions(days=180, locations=140)).network
    panel = network.panel
    # from here on the peak counts anew
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = peak_bytes()
    training_features(
        panel, network.surroundings, WARM_UP_DAYS, panel.width - 1, network.horizon, 0
    )
    per_day = (peak_bytes() - before) / (panel.size * panel.width)
    return {"figures": {"features_bytes_per_stock_day": per_day}}


def peak_bytes() -> int:
    """Return the most memory that this process had."""
    # not `ru_maxrss`, which a process inherits from a larger one that started it
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024


def _machine() -> str:
    text = Path("/proc/cpuinfo").read_text(encoding="ascii")
    model = re.findall(r"model name\s*: (.*)", text)
    return f"{os.cpu_count()} virtual cores of {model[0] if model else platform.machine()}, shared"


if __name__ == "__main__":
    main()
