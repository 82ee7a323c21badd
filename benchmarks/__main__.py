"""Run every benchmark in turn: `make bench`, or `python -m benchmarks NAME …` for some of them."""

from __future__ import annotations

import importlib
import sys
import time
import traceback

NAMES = (
    "newsvendor",
    "waste",
    "savings",
    "cold_start",
    "sample",
    "loading",
    "segments",
    "hourly",
    "positions",
    "clicks",
    "crashes",
    "collector",
    "live",
    "older_duckdb",
)


def main() -> None:
    """Run the named benchmarks, or all; one that misses its target does not stop the others."""
    names = sys.argv[1:] or NAMES
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        sys.exit(f"There is no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}.")
    sys.argv[1:] = []
    missed = [name for name in names if not _is_met(name)]
    if missed:
        sys.exit(f"\nmissed or failed: {', '.join(missed)}")


def _is_met(name: str) -> bool:
    """Run one benchmark, print how long it took, and tell whether it met its target."""
    print(f"\n== {name}", flush=True)
    started = time.monotonic()
    try:
        importlib.import_module(f"benchmarks.{name}").main()
    except SystemExit as stopped:
        if isinstance(stopped.code, str):
            print(stopped.code)
        return not stopped.code
    except Exception:
        # as if it ran alone: whoever mends it needs to see where it broke
        traceback.print_exc()
        return False
    finally:
        print(f"({time.monotonic() - started:.0f} s)", flush=True)
    return True


if __name__ == "__main__":
    main()
