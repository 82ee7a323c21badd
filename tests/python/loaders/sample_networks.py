"""Sample networks for tests: how they are written, and how their files are read back."""

from __future__ import annotations

from pathlib import Path

import duckdb

from loaders.sample.network import SampleOptions, SampleSummary, write_sample_network

TINY = SampleOptions(days=7, locations=5)
# Eight weeks: long enough for the 28-day policy, and a change to summer time lies inside.
MEDIUM = SampleOptions(days=56, locations=8)

Sample = tuple[Path, Path, SampleSummary]
"""The landing zone, the folder of the truth, and what was said."""


def write(folder: Path, options: SampleOptions) -> Sample:
    landing, truth = folder / "landing", folder / "truth"
    return landing, truth, write_sample_network(landing, truth, options)


def select_from(path: Path) -> str:
    """Return SQL that reads a landing file as text columns, broken lines left out."""
    name = path.name
    if name.endswith(".parquet"):
        return f"select columns(*)::varchar from read_parquet('{path}')"
    if ".csv" in name:
        return f"select * from read_csv('{path}', all_varchar = true)"
    array = ".json" in name and ".jsonl" not in name
    return (
        f"select columns(*)::varchar from read_json('{path}', ignore_errors = "
        f"{'false' if array else 'true'}, sample_size = -1, "
        f"format = '{'array' if array else 'newline_delimited'}')"
    )


def create_table(connection: duckdb.DuckDBPyConnection, landing: Path, entity: str) -> None:
    files = sorted(path for path in (landing / entity).rglob("*") if path.is_file())
    selects = " union all by name ".join(select_from(path) for path in files)
    connection.execute(f"create table {entity.split('/')[1]} as select distinct * from ({selects})")


def only(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[float, ...]:
    row = connection.execute(sql).fetchall()[0]
    return tuple(row)
