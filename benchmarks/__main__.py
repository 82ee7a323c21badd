"""Run every benchmark in turn: `make bench`, or `python -m benchmarks NAME …` for some of them."""

from __future__ import annotations

import importlib
import sys
import time

NAMES = ("loading", "segments", "hourly", "crashes", "older_duckdb")


def main() -> None:
    """Run the named benchmarks, or all."""
    unknown = sorted(set(sys.argv[1:]) - set(NAMES))
    if unknown:
        sys.exit(f"There is no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}.")
    for name in sys.argv[1:] or NAMES:
        print(f"\n== {name}", flush=True)
        started = time.monotonic()
        sys.argv[1:] = []
        importlib.import_module(f"benchmarks.{name}").main()
        print(f"({time.monotonic() - started:.0f} s)")


if __name__ == "__main__":
    main()
