"""Compare what is published on DuckDB with what is published on Snowflake, row for row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import duckdb

from larder import warehouse
from larder.serving.publish import MARTS_SCHEMA
from larder.serving.snowflake_publish import SERVED
from larder.serving.snowflake_tables import Column, open_tables
from larder.settings import Settings
from larder.warehouse import METADATA_TABLE, literal, quoted

# When a run happened is no result of it.
MOMENTS_OF_RUNS = ("accepted_at", "processed_at", "process_hour")
# Numbers that are floating on both sides may differ by so much, absolutely or as a share.
TOLERANCE = 1e-9
SHOWN_DIFFERENCES = 3

# Snowflake keeps whole numbers as one type.
WHOLE_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
# Where both lie while they are compared.
HERE, THERE = "here", "there"


@dataclass(frozen=True)
class Difference:
    """Say where the two differ: the table, what is compared, and how it is here and there."""

    table: str
    what: str
    duckdb: str
    snowflake: str

    def __str__(self) -> str:
        return f"{self.table}, {self.what}: {self.duckdb} on DuckDB, {self.snowflake} on Snowflake"


@dataclass(frozen=True)
class Comparison:
    """Count what was compared, and list what differs."""

    tables: int
    rows: int
    differences: tuple[Difference, ...]


def compare(settings: Settings) -> Comparison:
    """Compare the published marts of the home folder with those on Snowflake.

    Their tables, the columns' types and whether they may be null, and their rows, in whatever
    order they lie. Left out is when a run happened (`MOMENTS_OF_RUNS`).

    Raises:
        WarehouseError: one of the two is not published, or Snowflake refuses.
    """
    differences: list[Difference] = []
    rows = 0
    with open_tables(settings, "reader") as there:
        here = there.connection
        warehouse.attach(here, warehouse.resolve_published(settings), HERE, read_only=True)
        ours, theirs = _tables_here(here), there.describe(SERVED)
        theirs.pop(METADATA_TABLE, None)
        for name in sorted({*ours} ^ {*theirs}):
            is_here = name in ours
            differences.append(Difference(name, "table", *_is_there(is_here, not is_here)))
        for name in sorted({*ours} & {*theirs}):
            columns = {column.name: column for column in theirs[name]}
            differences += _different_columns(name, ours[name], columns)
            common = [
                column
                for column in ours[name]
                if column.name in columns and column.name not in MOMENTS_OF_RUNS
            ]
            there.make(THERE, name, theirs[name])
            rows += there.fill(SERVED, THERE, name)
            differences += _different_rows(here, name, common)
            there.drop(THERE, name)
    return Comparison(len({*ours} | {*theirs}), rows, tuple(differences))


def _is_there(here: bool, there: bool) -> tuple[str, str]:
    return ("there" if here else "missing", "there" if there else "missing")


def _tables_here(connection: duckdb.DuckDBPyConnection) -> dict[str, tuple[Column, ...]]:
    tables: dict[str, tuple[Column, ...]] = {}
    for table, *column in connection.execute(
        "select table_name, column_name, data_type, is_nullable from duckdb_columns() "
        "where schema_name = ? and database_name = ? order by table_name, column_index",
        [MARTS_SCHEMA, HERE],
    ).fetchall():
        tables[table] = (*tables.get(table, ()), Column(*column))
    return tables


def _different_columns(
    table: str, ours: Sequence[Column], theirs: dict[str, Column]
) -> Iterator[Difference]:
    for column in ours:
        other = theirs.get(column.name)
        what = f"column {column.name}"
        if other is None:
            yield Difference(table, what, *_is_there(True, False))
        elif _said(other) != _said(column):
            yield Difference(table, what, _said(column), _said(other))
    for name in theirs.keys() - {column.name for column in ours}:
        yield Difference(table, f"column {name}", *_is_there(False, True))


def _said(column: Column) -> str:
    is_whole = column.data_type in WHOLE_NUMBERS
    data_type = "integer" if is_whole else column.data_type.lower()
    return data_type + ("" if column.is_nullable else " not null")


def _different_rows(
    connection: duckdb.DuckDBPyConnection, table: str, columns: Sequence[Column]
) -> Iterator[Difference]:
    """Lay the rows of both side by side, in the order of all that is exact, and compare them."""
    sources = {"a": f"{HERE}.{MARTS_SCHEMA}.{quoted(table)}", "b": f"{THERE}.{quoted(table)}"}
    counts = [
        connection.execute(f"select count(*) from {source}").fetchall()[0][0]
        for source in sources.values()
    ]
    if counts[0] != counts[1]:
        yield Difference(table, "rows", f"{counts[0]:,}", f"{counts[1]:,}")
        return
    floating = [quoted(column.name) for column in columns if column.data_type == "DOUBLE"]
    exact = [quoted(column.name) for column in columns if column.data_type != "DOUBLE"]
    order = ", ".join([*exact, *floating])
    sides = ", ".join(
        f"{side} as (select *, row_number() over (order by {order}) as place from {source})"
        for side, source in sources.items()
    )
    for column in columns:
        name = quoted(column.name)
        differs = f"a.{name} is distinct from b.{name}"
        if column.data_type == "DOUBLE":
            differs += (
                f" and not coalesce(abs(a.{name} - b.{name}) <= "
                f"{TOLERANCE} * greatest(1, abs(a.{name}), abs(b.{name})), false)"
            )
        found = connection.execute(
            f"with {sides} select a.{name}, b.{name}, count(*) over () as many "
            f"from a inner join b using (place) where {differs} order by place "
            f"limit {SHOWN_DIFFERENCES}"
        ).fetchall()
        if found:
            shown = [", ".join(literal(str(row[side])) for row in found) for side in (0, 1)]
            what = f"column {column.name} in {found[0][2]:,} rows"
            yield Difference(table, what, shown[0], shown[1])
