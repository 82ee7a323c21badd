"""The tables of the lake: how a mart becomes Parquet files.

A fact is cut by the month of its date, not by the day: at the volume of a network of some hundred
places a day is a file of some kilobytes, and Athena reads best from files of many megabytes. One
whose model declares a column of hours (`meta.lake.partition`) is cut by these, as raw is: then a
publication has little to write. Within a file the rows lie by place and item, so that row groups
without them are skipped.

A fingerprint of its rows tells whether a file has to be written, or lies in the lake already.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pyarrow as pa

from larder.errors import WarehouseError
from larder.serving.declared import declared_partitions
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


@dataclass(frozen=True)
class LakeColumn:
    """Name a column and its type, as Athena writes it."""

    name: str
    type: str


@dataclass(frozen=True)
class LakeFile:
    """Describe a file: its name below the lake, and its month or hour where it has one."""

    name: str
    rows: int
    size_bytes: int
    fingerprint: str
    partition: str | None = None


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


@dataclass(frozen=True)
class Cut:
    """Say what cuts a table into files: a column, and the month or hour of it."""

    column: str
    unit: str

    @property
    def name(self) -> str:
        """The column that readers know it by; an hour takes the place of the declared one."""
        return self.column if self.unit == "hour" else f"{self.column}_{self.unit}"

    @property
    def value(self) -> str:
        """The month or hour of a row, in SQL, spelled as in the folders of raw."""
        spelling = "%Y-%m-%dT%H" if self.unit == "hour" else "%Y-%m"
        return f"strftime(date_trunc('{self.unit}', {quoted(self.column)}), '{spelling}')"

    def within(self, value: str) -> str:
        """Return the condition that a row is of this month or hour."""
        column = quoted(self.column)
        first = f"timestamp {literal(f'{value}:00' if self.unit == 'hour' else f'{value}-01')}"
        return f"where {column} >= {first} and {column} < {first} + interval 1 {self.unit}"


@dataclass(frozen=True)
class Shape:
    """Hold what is written of a table: from where, which columns in which order, how it is cut."""

    name: str
    source: str
    columns: tuple[LakeColumn, ...]
    chosen: str
    values: tuple[str, ...]
    order: tuple[str, ...]
    cut: Cut | None
    comments: dict[str, str]


@dataclass(frozen=True)
class Part:
    """Hold what becomes one file; its value is null where the table is one file."""

    value: str | None
    rows: int
    fingerprint: str


def shape_of(connection: duckdb.DuckDBPyConnection, catalog: str, name: str) -> Shape:
    """Return how a table of an attached generation lies in the lake.

    Raises:
        WarehouseError: a column has a type that a lake cannot hold.
    """
    described = connection.execute(
        "select column_name, data_type, comment from duckdb_columns() where database_name = ? "
        "and schema_name = ? and table_name = ? order by column_index",
        [catalog, MARTS_SCHEMA, name],
    ).fetchall()
    source = f"{quoted(catalog)}.{MARTS_SCHEMA}.{quoted(name)}"
    cut = _cut_of(connection, source, name, {column: kind for column, kind, _ in described})
    # who reads the file by its folder has this column from there
    written = [one for one in described if cut is None or one[0] != cut.name]
    names = [column for column, _, _ in written]
    values = tuple(_value(column, data_type) for column, data_type, _ in written)
    chosen = ", ".join(
        f"{value} as {quoted(one)}" for value, one in zip(values, names, strict=True)
    )
    near = [one for one in ("location_id", "item_id", cut.column) if one in names] if cut else []
    empty = connection.sql(f"select {chosen} from {source} limit 0").to_arrow_table()
    return Shape(
        name,
        source,
        columns_of(empty.schema, name),
        chosen,
        values,
        # to the last column, so that the same rows are the same file, whatever engine they are from
        tuple(dict.fromkeys([*near, *names])),
        cut,
        {column: comment for column, _, comment in described if comment},
    )


def parts_of(connection: duckdb.DuckDBPyConnection, shape: Shape) -> Iterator[Part]:
    """Yield the files that a table is cut into; one without rows is one file with its columns.

    The fingerprint is of the rows in any order: a sum of 64-bit hashes, which misses one change in
    some 10¹⁹. Another order, other columns or other options of the file are another fingerprint.
    """
    value = shape.cut.value if shape.cut else "null"
    hashes = f"sum(hash({', '.join(shape.values)}))"
    found = connection.execute(
        f"select {value} as part, count(*), {hashes} from {shape.source} "
        "group by part order by part"
    ).fetchall()
    for part, rows, hashed in found or [(None, 0, None)]:
        said = f"{shape.columns}|{shape.order}|{shape.cut}|{OPTIONS}|{rows}|{hashed}"
        yield Part(part, rows, hashlib.sha256(said.encode()).hexdigest()[:32])


def file_name(shape: Shape, part: Part) -> str:
    """Return the name of a part's file below its generation."""
    if shape.cut is None or part.value is None:
        return f"{shape.name}/{PART}"
    return f"{shape.name}/{shape.cut.name}={part.value}/{PART}"


def write_part(connection: duckdb.DuckDBPyConnection, shape: Shape, part: Part, file: Path) -> None:
    """Write one file of a table."""
    file.parent.mkdir(parents=True, exist_ok=True)
    where = shape.cut.within(part.value) if shape.cut and part.value else ""
    order = ", ".join(quoted(one) for one in shape.order)
    connection.execute(
        f"copy (select {shape.chosen} from {shape.source} {where} order by {order}) "
        f"to {literal(str(file))} ({OPTIONS})"
    )


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


def _value(column: str, data_type: str) -> str:
    if data_type.startswith("ENUM("):
        data_type = "UUID"  # a text as well
    cast = CASTS.get(data_type)
    return f"{quoted(column)}::{cast}" if cast else quoted(column)


def _cut_of(
    connection: duckdb.DuckDBPyConnection, source: str, name: str, types: dict[str, str]
) -> Cut | None:
    """Return what cuts the table; none where a row would be of no month or hour."""
    declared = declared_partitions().get(name)
    cuts = []
    if declared is not None and types.get(declared) == "TIMESTAMP":
        cuts.append(Cut(declared, "hour"))
    if name.startswith("fct_"):
        with suppress(WarehouseError):
            cuts.append(Cut(date_column(connection, name), "month"))
    for cut in cuts:
        is_known = f"select bool_and({quoted(cut.column)} is not null) from {source}"
        if connection.execute(is_known).fetchall()[0][0] is not False:
            return cut
    return None


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
