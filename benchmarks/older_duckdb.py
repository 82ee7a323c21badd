"""Show that a published file opens read-only in the newest DuckDB 1.5, as today's BI tools do.

Usage: python -m benchmarks.older_duckdb [FILE] (default: one made here from a small sample).
Makes a throw-away virtual environment, so it needs a package index.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.homes import make_home, now
from larder.build import build
from larder.serving.publish import publish
from loaders.load import load
from loaders.sample.network import SampleOptions

OLDER = "duckdb==1.5.*"
# Runs in the older version: reads every value of every table, not only the catalogue.
READ = """
import duckdb, json, sys
connection = duckdb.connect(sys.argv[1], read_only=True)
connection.execute("set enable_progress_bar = false")
tables = connection.execute(
    "select table_name from duckdb_tables() where schema_name = 'marts' order by 1"
).fetchall()
rows = {}
for (name,) in tables:
    columns = connection.execute(f'select columns(*)::varchar from marts."{name}"')
    rows[name] = sum(len(batch) for batch in iter(lambda: columns.fetchmany(10_000), []))
print(json.dumps({"version": duckdb.__version__, "rows": rows}))
"""


def publish_sample(folder: Path) -> Path:
    """Load, build and publish a small sample network, and return the published file."""
    settings = make_home(folder, SampleOptions(days=7, locations=5))
    load(settings, now)
    build(settings)
    publish(settings, now())
    return settings.published_database


def read_in_older_version(file: Path, folder: Path) -> dict[str, Any]:
    """Install the older DuckDB in `folder` and return its version and the rows it read."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", OLDER],
        check=True,
    )
    read = subprocess.run(
        [python, "-I", "-c", READ, file], check=True, stdout=subprocess.PIPE, text=True
    )
    found: dict[str, Any] = json.loads(read.stdout)
    return found


def read_here(file: Path) -> dict[str, int]:
    """Return the rows of every published table, as the present version counts them."""
    with duckdb.connect(str(file), read_only=True) as connection:
        told = connection.execute("select table_name, row_count from main.larder_generation")
        return dict(told.fetchall())


def main() -> None:
    """Compare both versions and fail when they differ."""
    with tempfile.TemporaryDirectory(prefix="larder-older-") as name:
        folder = Path(name)
        file = Path(sys.argv[1]) if len(sys.argv) > 1 else publish_sample(folder / "home")
        expected = read_here(file)
        found = read_in_older_version(file, folder / "venv")
    same = found["rows"] == expected
    print(
        f"DuckDB {found['version']} read {len(found['rows'])} tables, "
        f"{sum(found['rows'].values()):,} rows of {file}; DuckDB {duckdb.__version__} wrote "
        f"{len(expected)} tables, {sum(expected.values()):,} rows: "
        f"{'the same' if same else 'NOT the same'}"
    )
    if not same:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
