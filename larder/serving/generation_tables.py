"""The tables of a generation, whichever engine keeps it, as tables of DuckDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import duckdb

from larder import warehouse
from larder.errors import WarehouseError
from larder.serving.publish import MARTS_SCHEMA, generation_file
from larder.serving.snowflake_publish import find_schema
from larder.serving.snowflake_tables import open_tables
from larder.settings import Settings

CATALOG = "generation"


@dataclass(frozen=True)
class GenerationTables:
    """Read a generation in the catalog `generation`; a table is there while it is being held."""

    connection: duckdb.DuckDBPyConnection
    holding: Callable[[str], AbstractContextManager[object]]


@contextmanager
def open_generation(settings: Settings, name: str) -> Iterator[GenerationTables]:
    """Open a generation to read its tables, one at a time: those of Snowflake are copied for it.

    Raises:
        WarehouseError: there is no such generation, or it cannot be read; or, at the end, readers
            were switched meanwhile, so that what was read may be of two generations.
    """
    opened = _open_on_snowflake if settings.target == "prod" else _open_file
    with opened(settings, name) as tables:
        yield tables


@contextmanager
def _open_file(settings: Settings, name: str) -> Iterator[GenerationTables]:
    with warehouse.open_memory(settings) as connection:
        file = generation_file(settings, name)
        warehouse.attach(connection, file, CATALOG, read_only=True)
        yield GenerationTables(connection, nullcontext)


@contextmanager
def _open_on_snowflake(settings: Settings, name: str) -> Iterator[GenerationTables]:
    with open_tables(settings, "reader") as tables:
        source, target = find_schema(tables.there, name), f"{CATALOG}.{MARTS_SCHEMA}"
        tables.connection.execute(f"attach ':memory:' as {CATALOG}")
        described = tables.describe(source)

        @contextmanager
        def holding(table: str) -> Iterator[None]:
            tables.make(target, table, described[table])
            try:
                tables.fill(source, target, table)
                yield
            finally:
                tables.drop(target, table)

        yield GenerationTables(tables.connection, holding)
        if find_schema(tables.there, name) != source:
            raise WarehouseError(
                f"generation {name} was published or taken back while it was read. Run again."
            )
