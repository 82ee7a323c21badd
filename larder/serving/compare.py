"""Compare what is published on DuckDB with what is published on Snowflake, row for row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from larder import warehouse
from larder.serving.publish import MARTS_SCHEMA
from larder.settings import Settings
from larder.snowflake import PUBLISHED, fetch, open_snowflake
from larder.warehouse import METADATA_TABLE, literal, quoted

# When a run happened is no result of it.
MOMENTS_OF_RUNS = ("accepted_at",)
# Numbers that are floating on both sides may differ by so much, absolutely or as a share.
TOLERANCE = 1e-9
SHOWN_DIFFERENCES = 3

# What a type is called on both engines together, by what either calls it.
FAMILIES = {
    "TINYINT": "integer",
    "SMALLINT": "integer",
    "INTEGER": "integer",
    "BIGINT": "integer",
    "HUGEINT": "integer",
    "NUMBER(38,0)": "integer",
    "DOUBLE": "floating",
    "FLOAT": "floating",
    "TEXT": "text",
    "VARCHAR": "text",
    "TIMESTAMP": "timestamp",
    "TIMESTAMP_NTZ": "timestamp",
}


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


@dataclass(frozen=True)
class _Column:
    name: str
    family: str
    is_nullable: bool


def compare(settings: Settings) -> Comparison:
    """Compare the published marts of the home folder with those on Snowflake.

    Their tables, the columns' types and whether they may be null, and their rows, in whatever
    order they lie. Left out is when a run happened (`MOMENTS_OF_RUNS`).

    Raises:
        WarehouseError: one of the two is not published, or Snowflake refuses.
    """
    differences: list[Difference] = []
    rows = 0
    with (
        warehouse.open_published(settings) as here,
        open_snowflake(settings, "reader") as there,
    ):
        ours, theirs = _tables_here(here), _tables_there(there)
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
            with there.cursor() as cursor:
                cursor.execute(f"select * from {PUBLISHED}.{MARTS_SCHEMA}.{name}")
                found = cursor.fetch_arrow_all(force_return_table=True)
            assert isinstance(found, pa.Table)
            here.register(
                "there", found.rename_columns([one.lower() for one in found.schema.names])
            )
            rows += found.num_rows
            differences += _different_rows(here, name, common)
            here.unregister("there")
    return Comparison(len({*ours} | {*theirs}), rows, tuple(differences))


def _is_there(here: bool, there: bool) -> tuple[str, str]:
    return ("there" if here else "missing", "there" if there else "missing")


def _tables_here(connection: duckdb.DuckDBPyConnection) -> dict[str, list[_Column]]:
    return _by_table(
        connection.execute(
            "select table_name, column_name, data_type, is_nullable from duckdb_columns() "
            "where schema_name = ? and database_name = current_database() "
            "order by table_name, column_index",
            [MARTS_SCHEMA],
        ).fetchall()
    )


def _tables_there(connection: Any) -> dict[str, list[_Column]]:
    return _by_table(
        fetch(
            connection,
            "select lower(table_name), lower(column_name), case when data_type = 'NUMBER' "
            "then 'NUMBER(' || numeric_precision || ',' || numeric_scale || ')' "
            "else data_type end, is_nullable = 'YES' "
            f"from {PUBLISHED}.information_schema.columns where lower(table_schema) = %s "
            "order by table_name, ordinal_position",
            MARTS_SCHEMA,
        )
    )


def _by_table(rows: Sequence[tuple[Any, ...]]) -> dict[str, list[_Column]]:
    tables: dict[str, list[_Column]] = {}
    for table, name, data_type, is_nullable in rows:
        if table != METADATA_TABLE:
            text = str(data_type).upper().replace("DECIMAL(", "NUMBER(").replace(" ", "")
            family = FAMILIES.get(text, text.lower())
            tables.setdefault(table, []).append(_Column(name, family, bool(is_nullable)))
    return tables


def _different_columns(
    table: str, ours: Sequence[_Column], theirs: dict[str, _Column]
) -> Iterator[Difference]:
    for column in ours:
        other = theirs.get(column.name)
        what = f"column {column.name}"
        if other is None:
            yield Difference(table, what, *_is_there(True, False))
        elif other != column:
            yield Difference(table, what, _said(column), _said(other))
    for name in theirs.keys() - {column.name for column in ours}:
        yield Difference(table, f"column {name}", *_is_there(False, True))


def _said(column: _Column) -> str:
    return column.family + ("" if column.is_nullable else " not null")


def _different_rows(
    connection: duckdb.DuckDBPyConnection, table: str, columns: Sequence[_Column]
) -> Iterator[Difference]:
    """Lay the rows of both side by side, in the order of all that is exact, and compare them."""
    counts = connection.execute(
        f"select (select count(*) from {MARTS_SCHEMA}.{quoted(table)}), "
        "(select count(*) from there)"
    ).fetchall()[0]
    if counts[0] != counts[1]:
        yield Difference(table, "rows", f"{counts[0]:,}", f"{counts[1]:,}")
        return
    exact = [quoted(column.name) for column in columns if column.family != "floating"]
    floating = [quoted(column.name) for column in columns if column.family == "floating"]
    # as one type on both sides, so that they sort and compare alike
    casts = {"timestamp": "::timestamp", "integer": "::decimal(38, 0)", "text": "::varchar"}
    names = ", ".join(
        f"{quoted(column.name)}{casts.get(column.family, '')} as {quoted(column.name)}"
        for column in columns
    )
    order = ", ".join([*exact, *floating])
    sides = ", ".join(
        f"{side} as (select *, row_number() over (order by {order}) as place "
        f"from (select {names} from {source}))"
        for side, source in (("a", f"{MARTS_SCHEMA}.{quoted(table)}"), ("b", "there"))
    )
    for column in columns:
        name = quoted(column.name)
        differs = f"a.{name} is distinct from b.{name}"
        if column.family == "floating":
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
