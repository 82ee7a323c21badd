"""The tables of the finished build, on either engine, for queries in DuckDB's SQL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import duckdb

from larder import warehouse
from larder.serving.snowflake_tables import open_tables
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
        for schema, names in _named(queries).items():
            described = tables.describe(f"{ANALYTICS}.{schema}")
            for name in sorted(names & described.keys()):
                tables.make(schema, name, described[name])
                tables.fill(f"{ANALYTICS}.{schema}", schema, name)
        yield tables.connection


def _named(queries: Iterable[str]) -> dict[str, set[str]]:
    """Return the tables that are named with a schema, by schema."""
    import sqlglot
    from sqlglot import exp

    found: dict[str, set[str]] = {}
    for query in queries:
        for table in sqlglot.parse_one(query, read="duckdb").find_all(exp.Table):
            if table.db:
                found.setdefault(table.db, set()).add(table.name)
    return found
