"""Warehouses to measure on: made, copied and compared the same way by every benchmark."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from larder.build import target_folder
from larder.settings import Settings
from loaders.sample.network import SampleOptions, write_sample_network

# Columns that say when a run happened; they differ between two runs over the same data.
RUN_COLUMNS = ("accepted_at",)


def now() -> datetime:
    """Return the wall clock in UTC."""
    return datetime.now(UTC)


def settings_of(folder: Path) -> Settings:
    """Return the settings of a home with its own key and landing zone.

    Given here, neither the user's environment nor their `.env` can set them.
    """
    return Settings(home=folder, key_file=folder / "key", landing=None, as_of=None, target="dev")


def make_home(folder: Path, options: SampleOptions) -> Settings:
    """Make a home with the sample network in its landing zone and a key of its own."""
    settings = settings_of(folder)
    write_sample_network(settings.landing_folder, settings.truth_folder, options)
    return settings


def copy_home(settings: Settings, folder: Path) -> Settings:
    """Copy a whole home, its modification times included, so that loaded files stay known."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(settings.home, folder, symlinks=True)
    return settings_of(folder)


def model_seconds(settings: Settings) -> dict[str, float]:
    """Return the execution time of each model of the last build, in seconds."""
    results = _results(settings)
    return {
        result["unique_id"].split(".")[2]: result["execution_time"]
        for result in results
        if result["unique_id"].startswith("model.")
    }


def test_seconds(settings: Settings) -> float:
    """Return the execution time of all tests of the last build, in seconds."""
    return sum(
        float(result["execution_time"])
        for result in _results(settings)
        if not result["unique_id"].startswith("model.")
    )


def differences(left: Settings, right: Settings) -> list[str]:
    """Compare all published marts row for row, columns that say when a run happened aside."""
    found = []
    with duckdb.connect() as connection:
        connection.execute(f"attach '{left.published_database.resolve()}' as a (read_only)")
        connection.execute(f"attach '{right.published_database.resolve()}' as b (read_only)")
        tables = {
            catalog: {
                name
                for (name,) in connection.execute(
                    "select table_name from duckdb_tables() "
                    "where database_name = ? and schema_name = 'marts'",
                    [catalog],
                ).fetchall()
            }
            for catalog in ("a", "b")
        }
        found += [f"{name} is only in one" for name in sorted(tables["a"] ^ tables["b"])]
        for name in sorted(tables["a"] & tables["b"]):
            columns = f"columns(lambda name: name not in ({', '.join(map(repr, RUN_COLUMNS))}, ''))"
            count = connection.execute(
                f"select count(*) from ("
                f"(select {columns} from a.marts.{name} except all "
                f"select {columns} from b.marts.{name}) union all "
                f"(select {columns} from b.marts.{name} except all "
                f"select {columns} from a.marts.{name}))"
            ).fetchall()[0][0]
            if count:
                found.append(f"{name}: {count} rows differ")
    return found


def _results(settings: Settings) -> list[dict[str, Any]]:
    path = target_folder(settings, "build") / "run_results.json"
    results: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["results"]
    return results
