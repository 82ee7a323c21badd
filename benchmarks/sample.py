"""The sample network: does ten times as much take ten times as long, and stay within 1 GB?

Each network is written by a process of its own, so that the peak of its memory is its own. Targets:
10 million events within 1 GB, at no more than 1.5 times the time that an event of the small one
takes (starting Python and writing the catalogue count there, too).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence

MOST_BYTES = 1_000_000_000
MOST_RATIO = 1.5
WRITE = """
import json, resource, sys, time
from pathlib import Path
from loaders.sample.network import SampleOptions, write_sample_network
folder, days, locations = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
started = time.perf_counter()
made = write_sample_network(
    folder / "landing", folder / "truth", SampleOptions(days=days, locations=locations)
)
print(json.dumps({
    "events": made.stock_events,
    "seconds": time.perf_counter() - started,
    "bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
}))
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print time and memory of the default network and of one with twenty times its places."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=200)
    parser.add_argument("--locations", type=int, nargs=2, default=(35, 700))
    options = parser.parse_args(arguments)
    small, large = (_write(options.days, locations) for locations in options.locations)
    ratio = (large["seconds"] / large["events"]) / (small["seconds"] / small["events"])
    print(f"time of an event in the large network to the small one: {ratio:.2f} (≤ {MOST_RATIO})")
    if ratio > MOST_RATIO or large["bytes"] > MOST_BYTES:
        sys.exit(1)


def _write(days: int, locations: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="larder-sample-") as folder:
        finished = subprocess.run(
            [sys.executable, "-c", WRITE, folder, str(days), str(locations)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    measured: dict[str, float] = json.loads(finished.stdout)
    print(
        f"{locations} locations, {days} days: {measured['events']:,} events in "
        f"{measured['seconds']:.1f} s, peak {measured['bytes'] / 1e6:,.0f} MB "
        f"(≤ {MOST_BYTES / 1e6:,.0f})",
        flush=True,
    )
    return measured


if __name__ == "__main__":
    main()
