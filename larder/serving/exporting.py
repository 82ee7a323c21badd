"""Write a published table to a file, from either engine."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Literal

import duckdb

from larder import warehouse
from larder.errors import WarehouseError
from larder.serving.publish import MARTS_SCHEMA
from larder.serving.reading import published_tables, require_known
from larder.serving.snowflake_publish import NOT_PUBLISHED, SERVED
from larder.serving.snowflake_tables import open_tables
from larder.settings import Settings
from larder.warehouse import METADATA_TABLE, literal, quoted

ExportFormat = Literal["csv", "parquet", "ndjson", "json"]

COPY_OPTIONS: dict[ExportFormat, str] = {
    "csv": "format csv, header",
    "parquet": "format parquet, compression zstd",
    "ndjson": "format json",
    "json": "format json, array true",
}
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
DATE_COLUMN = re.compile(r".+_(date|at)|period_start")


@dataclass(frozen=True)
class Export:
    """Say what was exported where; `date_column` is what the dates were compared with."""

    table: str
    path: Path
    rows: int
    date_column: str | None


def export_table(
    settings: Settings,
    table: str,
    destination: Path,
    file_format: ExportFormat,
    *,
    date_from: date | None = None,
    date_to: date | None = None,
) -> Export:
    """Write a published table to a file, whole or from `date_from` to `date_to`, both included.

    The dates are compared with the table's first date or timestamp column that is called
    `*_date`, `*_at` or `period_start`. A text file whose name ends in `.gz` or `.zst` is
    compressed. The file appears whole under its name, or not at all.

    Raises:
        WarehouseError: unknown table, no such column, the dates are the wrong way round, or the
            destination cannot be written.
    """
    if date_from and date_to and date_from > date_to:
        raise WarehouseError(
            f"the first date {date_from} is after the last date {date_to}. Give them the other "
            "way round."
        )
    if destination.is_dir() or not destination.parent.is_dir():
        raise WarehouseError(
            f"{destination} cannot be written: name a file in a folder that is there."
        )
    with _open_to_export(settings, table, date_from, date_to) as (connection, column):
        source = f"from {MARTS_SCHEMA}.{quoted(table)}"
        if column is not None:
            source += f" where {_between(quoted(column), date_from, date_to)}"
        # the same rows are the same file, whatever order an engine gives them in
        source += " order by all"
        aside = destination.with_name(f".{destination.name}.{os.getpid()}.tmp")
        options = COPY_OPTIONS[file_format]
        if file_format != "parquet":
            options += f", compression {COMPRESSIONS.get(destination.suffix, 'none')}"
        try:
            copied = connection.execute(
                f"copy ({source}) to {literal(str(aside))} ({options})"
            ).fetchall()
            with aside.open("rb") as written:
                os.fsync(written.fileno())
            aside.replace(destination)
        except (duckdb.IOException, OSError) as error:
            raise WarehouseError(f"{destination} cannot be written: {error}") from None
        finally:
            aside.unlink(missing_ok=True)
    return Export(table, destination, int(copied[0][0]), column)


@contextmanager
def _open_to_export(
    settings: Settings, table: str, date_from: date | None, date_to: date | None
) -> Iterator[tuple[duckdb.DuckDBPyConnection, str | None]]:
    """Open what holds a published table, or its part in the dates, and name the column of these."""
    is_cut = date_from is not None or date_to is not None
    if settings.target != "prod":
        with warehouse.open_published(settings) as connection:
            require_known(table, published_tables(connection), "published table")
            yield connection, date_column(connection, table) if is_cut else None
        return
    with open_tables(settings, "reader") as tables:
        described = tables.describe(SERVED)
        described.pop(METADATA_TABLE, None)
        if not described:
            raise WarehouseError(NOT_PUBLISHED)
        require_known(table, sorted(described), "published table")
        tables.make(MARTS_SCHEMA, table, described[table])
        column = date_column(tables.connection, table) if is_cut else None
        within = f"where {_between(quoted(column.upper()), date_from, date_to)}" if column else ""
        tables.fill(SERVED, MARTS_SCHEMA, table, within)
        yield tables.connection, column


def date_column(connection: duckdb.DuckDBPyConnection, table: str) -> str:
    """Return the column that a date range of a published table means.

    Raises:
        WarehouseError: the table has none.
    """
    columns = connection.execute(
        "select column_name, data_type from duckdb_columns() "
        "where schema_name = ? and table_name = ? order by column_index",
        [MARTS_SCHEMA, table],
    ).fetchall()
    for name, data_type in columns:
        if data_type.startswith(("DATE", "TIMESTAMP")) and DATE_COLUMN.fullmatch(name):
            return str(name)
    raise WarehouseError(
        f"{table} has no date or timestamp column called *_date, *_at or period_start, so it "
        "cannot be cut by date. Export it whole."
    )


def _between(column: str, date_from: date | None, date_to: date | None) -> str:
    """Compare with the midnights around the range, so that a timestamp's last day counts."""
    conditions = []
    if date_from is not None:
        conditions.append(f"{column} >= date '{date_from.isoformat()}'")
    if date_to is not None:
        after = date_to + timedelta(days=1)
        conditions.append(f"{column} < date '{after.isoformat()}'")
    return " and ".join(conditions)
