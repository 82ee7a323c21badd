"""The tables of the lake: how a mart becomes Parquet files, and how Athena is told of them.

A fact is cut by the month of its date, not by the day: at the volume of a network of some hundred
places a day is a file of some kilobytes, and Athena reads best from files of many megabytes. Within
a month the rows lie by place and item, so that row groups without them are skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from larder.errors import WarehouseError
from larder.serving.exporting import date_column
from larder.serving.publish import MARTS_SCHEMA
from larder.warehouse import literal, quoted

PART = "part-0.parquet"
OPTIONS = "format parquet, compression zstd, parquet_version v1, row_group_size 122880"
# Of these Parquet, or who reads it, has no equal.
CASTS = {
    "HUGEINT": "decimal(38, 0)",
    "UHUGEINT": "decimal(38, 0)",
    "UBIGINT": "decimal(20, 0)",
    "UINTEGER": "bigint",
    "USMALLINT": "integer",
    "UTINYINT": "smallint",
    "TIMESTAMP_S": "timestamp",
    "TIMESTAMP_MS": "timestamp",
    "TIMESTAMP_NS": "timestamp",
    "TIMESTAMP WITH TIME ZONE": "timestamp",
    "TIME": "varchar",
    "TIME WITH TIME ZONE": "varchar",
    "INTERVAL": "varchar",
    "UUID": "varchar",
    "JSON": "varchar",
    "BIT": "varchar",
}
_SCALARS = {
    pa.bool_(): "boolean",
    pa.int8(): "tinyint",
    pa.int16(): "smallint",
    pa.int32(): "int",
    pa.int64(): "bigint",
    pa.float32(): "float",
    pa.float64(): "double",
    pa.string(): "string",
    pa.large_string(): "string",
    pa.binary(): "binary",
    pa.date32(): "date",
    pa.timestamp("us"): "timestamp",
}
# Glue takes no longer comment.
LONGEST_COMMENT = 255


@dataclass(frozen=True)
class LakeColumn:
    """Name a column and its type, as Athena writes it."""

    name: str
    type: str


@dataclass(frozen=True)
class LakeFile:
    """Describe a file: its name below the generation, its rows, its month where it has one."""

    name: str
    rows: int
    size_bytes: int
    month: str | None = None


@dataclass(frozen=True)
class LakeTable:
    """Describe a table; `partition` is null where it is one file."""

    name: str
    columns: tuple[LakeColumn, ...]
    files: tuple[LakeFile, ...]
    partition: str | None = None
    comments: dict[str, str] = field(default_factory=dict, compare=False)

    @property
    def rows(self) -> int:
        """The rows of all files."""
        return sum(file.rows for file in self.files)


def write_table(
    connection: duckdb.DuckDBPyConnection, catalog: str, name: str, folder: Path
) -> LakeTable:
    """Write a table of an attached generation below the folder.

    Raises:
        WarehouseError: a column has a type that a lake cannot hold.
    """
    described = connection.execute(
        "select column_name, data_type, comment from duckdb_columns() where database_name = ? "
        "and schema_name = ? and table_name = ? order by column_index",
        [catalog, MARTS_SCHEMA, name],
    ).fetchall()
    source = f"{quoted(catalog)}.{MARTS_SCHEMA}.{quoted(name)}"
    names = [column for column, _, _ in described]
    chosen = ", ".join(_select(column, data_type) for column, data_type, _ in described)
    day = _partition_day(connection, source, name) if name.startswith("fct_") else None
    near = [one for one in ("location_id", "item_id", day) if one in names] if day else []
    # to the last column, so that the same rows are the same file, whatever engine they are from
    order = ", ".join(quoted(one) for one in dict.fromkeys([*near, *names]))
    columns: tuple[LakeColumn, ...] = ()
    files = []
    for month in _months(connection, source, day):
        file = f"{name}/{day}_month={month}/{PART}" if month else f"{name}/{PART}"
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        where = _within(day, month) if day and month else ""
        rows = connection.execute(
            f"copy (select {chosen} from {source} {where} order by {order}) "
            f"to {literal(str(folder / file))} ({OPTIONS})"
        ).fetchall()[0][0]
        columns = columns_of(pq.read_schema(folder / file), name)
        files.append(LakeFile(file, int(rows), (folder / file).stat().st_size, month))
    comments = {column: comment for column, _, comment in described if comment}
    partition = f"{day}_month" if any(file.month for file in files) else None
    return LakeTable(name, columns, tuple(files), partition, comments)


def columns_of(schema: pa.Schema, table: str) -> tuple[LakeColumn, ...]:
    """Return the columns of a Parquet file with their types in Athena.

    Raises:
        WarehouseError: one has a type that Athena does not know.
    """
    try:
        return tuple(LakeColumn(one.name, _athena_type(one.type)) for one in schema)
    except TypeError as error:
        raise WarehouseError(
            f"{MARTS_SCHEMA}.{table} has a column of the type {error}, which a lake cannot hold. "
            "Let its model cast it to a plain type, a list or a struct."
        ) from None


def athena_ddl(url: str, generation: str, tables: tuple[LakeTable, ...]) -> Iterator[str]:
    """Yield the statements that let Athena (and Trino, Spark, Hive) read a generation.

    Its tables carry its name, and a view of the plain name is pointed to each: a query that runs
    meanwhile stays whole. Months are known by projection: nothing has to be added or repaired.
    """
    suffix = re.sub(r"\W", "_", generation).lower()
    base = url if "://" in url else f"file://{url}"
    yield "create database if not exists larder_lake"
    for table in tables:
        columns = ",\n".join(_column_ddl(table, column) for column in table.columns)
        place = f"{base}/{table.name}"
        properties = {"parquet.compression": "ZSTD"}
        partitioned = ""
        if table.partition is not None:
            months = [file.month for file in table.files if file.month]
            partitioned = f"partitioned by (`{table.partition}` string)\n"
            projection = f"projection.{table.partition}"
            properties |= {
                "projection.enabled": "true",
                f"{projection}.type": "date",
                f"{projection}.format": "yyyy-MM",
                f"{projection}.range": f"{min(months)},{max(months)}",
                f"{projection}.interval": "1",
                f"{projection}.interval.unit": "MONTHS",
                "storage.location.template": (f"{place}/{table.partition}=${{{table.partition}}}/"),
            }
        told = ",\n".join(f"    '{key}' = '{value}'" for key, value in properties.items())
        yield (
            f"create external table if not exists larder_lake.`{table.name}__{suffix}` (\n"
            f"{columns}\n)\n{partitioned}stored as parquet\nlocation '{place}/'\n"
            f"tblproperties (\n{told}\n)"
        )
    for table in tables:
        yield (
            f'create or replace view larder_lake."{table.name}" as\n'
            f'select * from larder_lake."{table.name}__{suffix}"'
        )


def _select(column: str, data_type: str) -> str:
    if data_type.startswith("ENUM("):
        data_type = "UUID"  # a text as well
    cast = CASTS.get(data_type)
    name = quoted(column)
    return f"{name}::{cast} as {name}" if cast else name


def _partition_day(connection: duckdb.DuckDBPyConnection, source: str, name: str) -> str | None:
    """Return the column whose month cuts the table; none where a row would have no month."""
    try:
        column = date_column(connection, name)
    except WarehouseError:
        return None
    without = connection.execute(
        f"select 1 from {source} where {quoted(column)} is null limit 1"
    ).fetchall()
    return None if without else column


def _months(
    connection: duckdb.DuckDBPyConnection, source: str, day: str | None
) -> list[str | None]:
    if day is None:
        return [None]
    rows = connection.execute(
        f"select strftime(month, '%Y-%m') from (select distinct date_trunc('month', {quoted(day)}) "
        f"as month from {source}) order by month"
    ).fetchall()
    return [row[0] for row in rows] or [None]  # without a row it still has its columns


def _within(day: str, month: str) -> str:
    first = f"date {literal(f'{month}-01')}"
    return f"where {quoted(day)} >= {first} and {quoted(day)} < {first} + interval 1 month"


def _athena_type(data_type: pa.DataType) -> str:
    if data_type in _SCALARS:
        return _SCALARS[data_type]
    if pa.types.is_decimal(data_type):
        return f"decimal({data_type.precision},{data_type.scale})"
    if pa.types.is_list(data_type) or pa.types.is_large_list(data_type):
        return f"array<{_athena_type(data_type.value_type)}>"
    if pa.types.is_map(data_type):
        return f"map<{_athena_type(data_type.key_type)},{_athena_type(data_type.item_type)}>"
    if pa.types.is_struct(data_type):
        return f"struct<{','.join(f'{one.name}:{_athena_type(one.type)}' for one in data_type)}>"
    raise TypeError(str(data_type))


def _column_ddl(table: LakeTable, column: LakeColumn) -> str:
    comment = re.sub(r"[\\\s]+", " ", table.comments.get(column.name, ""))[:LONGEST_COMMENT]
    told = " comment '{}'".format(comment.replace("'", "\\'")) if comment else ""
    return f"    `{column.name}` {column.type}{told}"
