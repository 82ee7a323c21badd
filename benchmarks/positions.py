"""Five million positions: how much memory a build takes, and what the next hour costs.

Vans on rounds of some hours report every half minute, in the provider's nested bodies, past a grid
of geofences. All models of trips are built from nothing by a dbt of its own, whose peak memory is
read from the kernel (VmHWM). Then one more hour of the same vans comes, after a tenth of the
history and after all of it: measured is what the models cost for it, the median of several runs
from the same copy. Targets: 4 GB, and a ratio of at most 1.5.
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
from collections.abc import Sequence
from pathlib import Path

import duckdb

from benchmarks.homes import copy_home, model_seconds, now, settings_of
from larder.build import target_folder
from larder.settings import PROJECT_ROOT, Settings
from larder.warehouse import literal
from loaders.load import load

MOST_MEMORY_GB = 4.0
MOST_RATIO = 1.5
POSITIONS = 5_000_000
A_TRIP = 500  # half a minute apart: four hours
VANS = 500
HOUR = 120
ROUNDS_A_DAY = 4
FENCES_A_SIDE = 30
SELECTED = ("+fct_trips", "+fct_geofence_visits", "+dim_geofences")

# A van drives a rectangle of streets, 0.003 degrees (330 m) a step, from a corner of its own.
BODIES = """
copy (
    select to_json({{
        event: {{
            _id: 'e-' || trip || '-' || step,
            createdAt: strftime(moment, '%Y-%m-%dT%H:%M:%S.%gZ'),
            type: case step when 0 then 'user.started_trip' when {last} then 'user.stopped_trip'
                else 'user.updated_trip' end,
            location: {{
                type: 'Point',
                coordinates: [
                    round(-120 + (van % 25) * 0.01 + 0.003 * abs(step % 60 - 30), 7),
                    round(36 + (van // 25) * 0.01 + 0.003 * abs((step + 10) % 60 - 30), 7)
                ]
            }},
            user: {{
                _id: 'driver-' || van,
                MMUserId: 'account-' || van,
                trip: {{
                    _id: 'trip-' || trip,
                    externalId: 'round-' || trip,
                    createdAt: strftime(started, '%Y-%m-%dT%H:%M:%S.%gZ'),
                    updatedAt: strftime(moment, '%Y-%m-%dT%H:%M:%S.%gZ'),
                    MMUserId: 'account-' || van,
                    startedAt: strftime(started, '%Y-%m-%dT%H:%M:%S.%gZ'),
                    metadata: {{route_session_type: 'delivery', route_session_id: 's-' || trip}}
                }}
            }}
        }}
    }}) as body
    from (
        select
            trip,
            trip % {vans} as van,
            step,
            timestamp '2024-01-01' + to_hours((trip // {vans}) * (24 // {rounds})) as started,
            started + to_seconds(30 * step) as moment
        from range({first_trip}, {last_trip}) as trips (trip)
        cross join range({first}, {until}) as steps (step)
    )
    order by moment
) to {file} (format csv, header false, quote '', escape '', delimiter e'\\x01')
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the memory of a full build and the cost of an hour after two histories."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--positions", type=int, default=POSITIONS)
    parser.add_argument("--vans", type=int, default=VANS)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args(arguments)
    least = 10 * 2 * A_TRIP * options.vans
    if options.positions < least:
        parser.error(
            f"a tenth of --positions must be two rounds of each van: give at least {least:,} or "
            f"fewer --vans than {options.vans}"
        )
    with tempfile.TemporaryDirectory(prefix="larder-positions-") as folder:
        short = _prepare(Path(folder) / "short", options.positions // 10, options.vans)
        long = _prepare(Path(folder) / "long", options.positions, options.vans)
        memory_gb = max(built for _, built in (short, long))
        costs: dict[str, list[float]] = {"short": [], "long": []}
        # in turns: a machine that slows down slows both
        for _ in range(options.runs):
            for name, (settings, _) in (("short", short), ("long", long)):
                costs[name].append(_cost_of_an_hour(settings, name))
    ratio = statistics.median(costs["long"]) / statistics.median(costs["short"])
    print(f"peak memory of a build of all: {memory_gb:.2f} GB (≤ {MOST_MEMORY_GB})")
    print(f"ratio of an hour's cost after all to after a tenth: {ratio:.2f} (≤ {MOST_RATIO})")
    if memory_gb > MOST_MEMORY_GB or ratio > MOST_RATIO:
        sys.exit(1)


def _prepare(folder: Path, positions: int, vans: int) -> tuple[Settings, float]:
    """Load and build the history; return its home and the peak memory of the build, GB."""
    settings = settings_of(folder)
    trips = max(positions // A_TRIP // vans, 2) * vans
    with duckdb.connect() as connection:
        # the newest round of each van has an hour to go
        last = (trips - vans, trips)
        for name, rounds, steps in (
            ("history", (0, trips - vans), (0, A_TRIP)),
            ("newest", last, (0, A_TRIP - HOUR)),
            ("hour", last, (A_TRIP - HOUR, A_TRIP)),
        ):
            connection.execute(_bodies(settings, name, vans, rounds, steps))
    _write_fences(settings)
    hour = settings.landing_folder / "trips" / "trip_events" / "hour.ndjson"
    hour.replace(settings.home / "hour.ndjson")
    started = time.monotonic()
    loaded = load(settings, now)
    seconds = time.monotonic() - started
    # what is loaded stays loaded, and copies of the home are smaller without
    shutil.rmtree(settings.landing_folder)
    started = time.monotonic()
    memory_gb = _build(settings)
    print(
        f"{loaded.entities['trips/trip_events'].records:,} positions: load {seconds:.0f} s, models "
        f"{time.monotonic() - started:.0f} s, {memory_gb:.2f} GB; {_counts(settings)}",
        flush=True,
    )
    return settings, memory_gb


def _bodies(
    settings: Settings, name: str, vans: int, trips: tuple[int, int], steps: tuple[int, int]
) -> str:
    """Give the statement that writes these trips, from one step to before another, by time."""
    file = settings.landing_folder / "trips" / "trip_events" / f"{name}.ndjson"
    file.parent.mkdir(parents=True, exist_ok=True)
    return BODIES.format(
        last=A_TRIP - 1,
        vans=vans,
        rounds=ROUNDS_A_DAY,
        first_trip=trips[0],
        last_trip=trips[1],
        first=steps[0],
        until=steps[1],
        file=literal(str(file)),
    )


def _write_fences(settings: Settings) -> None:
    """Write circles of 200 m and, every third, a square in their place."""
    lines = []
    for number in range(FENCES_A_SIDE**2):
        east = -120 + 0.3 * (number % FENCES_A_SIDE) / FENCES_A_SIDE
        north = 36 + 0.3 * (number // FENCES_A_SIDE) / FENCES_A_SIDE
        shape = f'"centre": [{east:.6f}, {north:.6f}], "radius_metres": 200'
        if number % 3 == 0:
            corners = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
            ring = [[round(east + 0.002 * x, 6), round(north + 0.002 * y, 6)] for x, y in corners]
            shape = f'"polygon": {{"type": "Polygon", "coordinates": [{ring}]}}'
        lines.append(
            f'{{"geofence_id": "fence-{number}", "geofence_name": "Fence {number}", '
            f'"updated_at": "2023-12-01T00:00:00Z", {shape}}}\n'
        )
    file = settings.landing_folder / "trips" / "geofences" / "fences.ndjson"
    file.parent.mkdir(parents=True)
    file.write_text("".join(lines), encoding="utf-8")


def _build(settings: Settings) -> float:
    """Build the models of trips in a process of its own, and return its peak memory in GB."""
    command = [sys.executable, "-c", DBT, str(target_folder(settings, "build"))]
    command += ["--log-path", str(settings.logs_folder / "dbt"), "--select", *SELECTED]
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


def _cost_of_an_hour(settings: Settings, name: str) -> float:
    """Build the hour on a copy, and return the seconds of the models."""
    copy = copy_home(settings, settings.home.with_name("run"))
    file = copy.landing_folder / "trips" / "trip_events" / "hour.ndjson"
    file.parent.mkdir(parents=True)
    shutil.copy2(copy.home / "hour.ndjson", file)
    added = load(copy, now)
    memory_gb = _build(copy)
    models = model_seconds(copy)
    slowest = sorted(models.items(), key=lambda item: -item[1])[:5]
    print(
        f"{name}: {added.entities['trips/trip_events'].records:,} new positions, models "
        f"{sum(models.values()):.2f} s, {memory_gb:.2f} GB; "
        + ", ".join(f"{model} {seconds:.2f}" for model, seconds in slowest),
        flush=True,
    )
    return sum(models.values())


def _counts(settings: Settings) -> str:
    with duckdb.connect(str(settings.build_database), read_only=True) as connection:
        rows = connection.execute(
            "select (select count(*) from marts.fct_trips), "
            "(select count(*) from marts.fct_geofence_visits where evidence = 'derived'), "
            "(select sum((position_flag = 'good')::int) from marts.fct_trip_events)"
        ).fetchall()
    trips, visits, good = rows[0]
    return f"{trips:,} trips, {visits:,} visits, {good:,} good positions"


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


if __name__ == "__main__":
    main()
