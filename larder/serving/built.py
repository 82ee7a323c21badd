"""The tables of the finished build, on either engine, for queries in DuckDB's SQL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import duckdb

from larder import warehouse
from larder.errors import WarehouseError
from larder.serving.snowflake_tables import SnowflakeTables, open_tables
from larder.settings import Settings
from larder.snowflake import ANALYTICS


@contextmanager
def open_built(settings: Settings, queries: Iterable[str]) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the finished build for these queries; tables of Snowflake that they name are copied.

    Raises:
        WarehouseError: nothing has been built yet; or the build was killed, or made by an earlier
            version, and lacks what is read.
        WarehouseBusyError: another process writes it.
    """
    if settings.target != "prod":
        with warehouse.open_finished_build(settings) as connection:
            yield connection
        return
    with open_tables(settings, "transformer") as tables, warehouse.lacking_is_our_error(ANALYTICS):
        for schema, names in named_tables(queries).items():
            copy_tables(tables, ANALYTICS, schema, names)
        yield tables.connection


def copy_tables(tables: SnowflakeTables, database: str, schema: str, names: set[str]) -> None:
    """Copy those tables of a schema of Snowflake that are there, to its namesake here."""
    described = tables.describe(f"{database}.{schema}")
    for name in sorted(names & described.keys()):
        tables.make(schema, name, described[name])
        tables.fill(f"{database}.{schema}", schema, name)


def named_tables(queries: Iterable[str], default_schema: str = "") -> dict[str, set[str]]:
    """Return the tables that are named, by schema; names without one only if there is a default.

    Raises:
        WarehouseError: a query cannot be parsed.
    """
    import sqlglot
    from sqlglot import exp

    found: dict[str, set[str]] = {}
    for query in queries:
        try:
            parsed = sqlglot.parse_one(query, read="duckdb")
        except sqlglot.ParseError as error:
            raise WarehouseError(f"the query could not be run. {error}") from None
        for table in parsed.find_all(exp.Table):
            if schema := table.db or default_schema:
                found.setdefault(schema, set()).add(table.name)
    return found
