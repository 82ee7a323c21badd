"""Tables of Snowflake as tables of DuckDB: the one way out of it, so that one code reads both.

Rows come in the batches of Arrow that Snowflake cuts an answer into, one after the other, and lie
in a database in memory, which spills under the home folder (mode 0700, removed when its process
ends, or by the next one after a kill). So a table may be larger than the memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from larder import warehouse
from larder.errors import WarehouseError
from larder.serving.declared import declared_types
from larder.settings import Settings
from larder.snowflake import Role, fetch, open_snowflake
from larder.warehouse import quoted

if TYPE_CHECKING:
    from snowflake.connector import SnowflakeConnection

# What DuckDB calls the types that a model may have there; of lists and structs Snowflake only gives
# a text, in its own words.
TYPES = {
    "BOOLEAN": "BOOLEAN",
    "DATE": "DATE",
    "FLOAT": "DOUBLE",
    "TEXT": "VARCHAR",
    "TIMESTAMP_NTZ": "TIMESTAMP",
}
# Whole numbers are all of one type there.
WHOLE_NUMBER, WHOLE_NUMBERS = "NUMBER(38,0)", ("INTEGER", "BIGINT")


@dataclass(frozen=True)
class Column:
    """Name a column; `data_type` is DuckDB's, or Snowflake's where DuckDB has no equal."""

    name: str
    data_type: str
    is_nullable: bool


class SnowflakeTables:
    """Hold copies of tables of Snowflake, those that are asked for, in a database of DuckDB."""

    def __init__(self, there: SnowflakeConnection, here: duckdb.DuckDBPyConnection) -> None:
        self.connection = here
        self.there = there

    def describe(self, source: str) -> dict[str, tuple[Column, ...]]:
        """Return the columns of all tables of a schema such as `larder.marts`, in lower case."""
        database, _, schema = source.partition(".")
        found: dict[str, tuple[Column, ...]] = {}
        for table, name, data_type, is_nullable in fetch(
            self.there,
            "select lower(table_name), lower(column_name), case when data_type = 'NUMBER' "
            "then 'NUMBER(' || numeric_precision || ',' || numeric_scale || ')' "
            "else data_type end, is_nullable = 'YES' "
            f"from {database}.information_schema.columns where lower(table_schema) = %s "
            "order by table_name, ordinal_position",
            schema,
        ):
            column = Column(name, _type_here(table, name, data_type), is_nullable)
            found[table] = (*found.get(table, ()), column)
        return found

    def make(self, target: str, table: str, columns: tuple[Column, ...]) -> None:
        """Make an empty table of these columns in a schema of DuckDB, which is made, too.

        Raises:
            WarehouseError: one has a type that DuckDB has no equal of.
        """
        self.connection.execute(f"create schema if not exists {target}")
        strange = next((one for one in columns if not _is_known(one.data_type)), None)
        if strange is not None:
            raise WarehouseError(
                f"{table}.{strange.name} has the type {strange.data_type}, which cannot be brought "
                "from Snowflake as it is. Let its model cast it to a plain type."
            )
        typed = ", ".join(f"{quoted(one.name)} {one.data_type}" for one in columns)
        self.connection.execute(f"create table {target}.{quoted(table)} ({typed})")

    def fill(self, source: str, target: str, table: str, where: str = "") -> int:
        """Bring the rows of a table, or those that fit, into the empty one; return how many.

        Raises:
            WarehouseError: one has a number that its type here cannot hold, or rows are missing.
        """
        into = f"{target}.{quoted(table)}"
        schema = self.connection.sql(f"from {into} limit 0").to_arrow_table().schema
        # dbt writes names without quotes, which Snowflake keeps in upper case
        wanted = ", ".join(quoted(name.upper()) for name in schema.names)
        brought = 0
        with self.there.cursor() as cursor:
            cursor.execute(f"select {wanted} from {source}.{quoted(table.upper())} {where}")
            for batch in cursor.fetch_arrow_batches(force_microsecond_precision=True):
                self._insert(into, batch, schema)
                brought += batch.num_rows
            # the connector counts what comes as rows of Python, not what comes as Arrow
            if brought != cursor.rowcount:
                raise WarehouseError(
                    f"{source}.{table} has {cursor.rowcount:,} rows, but only {brought:,} came. "
                    "Run again."
                )
        return brought

    def drop(self, target: str, table: str) -> None:
        """Remove a copy."""
        self.connection.execute(f"drop table {target}.{quoted(table)}")

    def _insert(self, into: str, batch: pa.Table, schema: pa.Schema) -> None:
        try:
            # how wide a number is follows from what a batch holds
            self.connection.register("batch", batch.rename_columns(schema.names).cast(schema))
        except pa.ArrowInvalid as error:
            raise WarehouseError(
                f"{into} has a value that its type cannot hold ({error}). Let its model cast it, "
                "or correct its data_type."
            ) from None
        self.connection.execute(f"insert into {into} from batch")
        self.connection.unregister("batch")


@contextmanager
def open_tables(settings: Settings, role: Role) -> Iterator[SnowflakeTables]:
    """Open Snowflake, and an empty database to bring tables of it to.

    Raises:
        SettingsError: a setting is missing, or the private key cannot be read.
        WarehouseError: Snowflake refuses, or cannot be reached.
    """
    with open_snowflake(settings, role) as there, warehouse.open_memory(settings) as here:
        yield SnowflakeTables(there, here)


def _type_here(table: str, column: str, data_type: str) -> str:
    data_type = data_type.upper()
    if data_type == WHOLE_NUMBER:
        said = declared_types().get((table, column), "").upper()
        return said if said in WHOLE_NUMBERS else "BIGINT"
    return TYPES.get(data_type, data_type.replace("NUMBER(", "DECIMAL("))


def _is_known(data_type: str) -> bool:
    return data_type in {*TYPES.values(), *WHOLE_NUMBERS} or data_type.startswith("DECIMAL(")
