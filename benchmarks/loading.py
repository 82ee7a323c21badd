"""Compare loading stock events, with all checks, with DuckDB's bare `read_json_objects`.

Usage: python benchmarks/loading.py [--rows 5000000] [--rounds 3] [--files 1]

Both get the same NDJSON and write to a fresh place on the same disk, in turns, each in a process of
its own: ours into raw segments and the vault, the bare one into a table of a database file, with
its checkpoint. The rates count from the first byte read to the last one durable; starting Python
is not counted. Wanted: a ratio of the medians of at least 0.45, and at most 2 GB of memory.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

WANTED_RATIO = 0.45
MOST_BYTES = 2_000_000_000
KINDS = ("taken", "taken", "taken", "restocked", "put_back", "discarded")

OURS = """
import time
from datetime import UTC, datetime
from pathlib import Path
from larder.settings import Settings
from loaders.load import load
settings = Settings(home=Path(folder), key_file=Path(folder) / "key", landing=Path(landing))
started = time.perf_counter()
summary = load(settings, lambda: datetime.now(UTC))
seconds = time.perf_counter() - started
counts = summary.entities["fridge/stock_events"]
rows = counts.records - counts.rejected - counts.duplicates
"""
BARE = """
import time
import duckdb
started = time.perf_counter()
with duckdb.connect(folder + "/bare.duckdb") as connection:
    connection.execute("set memory_limit = '2GB'")
    connection.execute("set enable_progress_bar = false")
    connection.execute(
        "create table events as select json from read_json_objects(?, format='newline_delimited')",
        [landing + "/fridge/stock_events/*.ndjson"],
    )
    connection.execute("checkpoint")
    rows = connection.execute("select count(*) from events").fetchall()[0][0]
seconds = time.perf_counter() - started
"""
MEASURE = """
import json, resource, sys
folder, landing = sys.argv[1:]
{work}
usage = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({{
    "rows": rows, "seconds": seconds, "cpu_seconds": usage.ru_utime + usage.ru_stime,
    "bytes": usage.ru_maxrss * 1024,
}}))
"""


@dataclass(frozen=True)
class Measurement:
    """Hold what one process needed: seconds by the wall and of the processors, bytes of memory."""

    rows: int
    seconds: float
    cpu_seconds: float
    bytes: int

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.rows / self.seconds


def write_events(folder: Path, rows: int, files: int) -> None:
    """Write stock events of about 200 bytes; a quarter of them has one of 20,000 customers."""
    generator = random.Random(1)
    folder.mkdir(parents=True)
    for number in range(files):
        with (folder / f"{number:03}.ndjson").open("w", encoding="utf-8") as file:
            for index in range(number * rows // files, (number + 1) * rows // files):
                kind = generator.choice(KINDS)
                event = {
                    "event_id": f"e{index:016x}",
                    "occurred_at": f"2026-0{1 + index % 9}-{1 + index % 28:02}"
                    f"T1{index % 10}:{index % 60:02}:00Z",
                    "location_id": f"L{index % 35:03}",
                    "item_id": f"M{index % 24:02}",
                    "kind": kind,
                    "quantity": 1 + index % 3,
                    "unit_price_usd": 6.5,
                    "basket_id": f"b{index // 2:08x}",
                }
                if kind == "taken" and generator.random() < 0.5:
                    event["customer_id"] = f"C{generator.randrange(20_000):06}"
                file.write(json.dumps(event) + "\n")


def measure(work: str, landing: Path, folder: Path) -> Measurement:
    """Run one of the two in a process and a folder of its own."""
    folder.mkdir()
    try:
        done = subprocess.run(
            [sys.executable, "-c", MEASURE.format(work=work), str(folder), str(landing)],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        os.sync()  # one must not pay for what the other has left to write
    finally:
        shutil.rmtree(folder)
    return Measurement(**json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Measure, print medians and their ratio, and fail when it is not what is wanted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--files", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=None, help="where to write (a few GB)")
    options = parser.parse_args()
    ours: list[Measurement] = []
    bare: list[Measurement] = []
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        landing = Path(name) / "landing"
        write_events(landing / "fridge" / "stock_events", options.rows, options.files)
        for number in range(options.rounds):
            bare.append(measure(BARE, landing, Path(name) / "bare"))
            ours.append(measure(OURS, landing, Path(name) / "ours"))
            for what, one in (("bare", bare[-1]), ("larder", ours[-1])):
                print(
                    f"round {number + 1}  {what:6}  {one.rate:10,.0f} rows/s  "
                    f"{one.seconds:6.1f} s  {one.cpu_seconds:6.1f} s of processors  "
                    f"{one.bytes / 1e6:7,.0f} MB",
                    flush=True,
                )
    for one in ours + bare:
        if one.rows != options.rows:
            raise SystemExit(f"{one.rows} rows instead of {options.rows}")
    rates = [statistics.median(one.rate for one in some) for some in (ours, bare)]
    processors = [statistics.median(one.cpu_seconds for one in some) for some in (bare, ours)]
    memory = max(one.bytes for one in ours)
    print(
        f"median: larder {rates[0]:,.0f} rows/s, bare {rates[1]:,.0f} rows/s, ratio "
        f"{rates[0] / rates[1]:.2f} (wanted {WANTED_RATIO}); by processor time "
        f"{processors[0] / processors[1]:.2f}; most memory {memory / 1e6:,.0f} MB "
        f"(allowed {MOST_BYTES / 1e6:,.0f})"
    )
    if rates[0] / rates[1] < WANTED_RATIO or memory > MOST_BYTES:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
