"""Ask the published marts something, on either engine, in SQL as DuckDB speaks it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from larder import snowflake, warehouse
from larder.settings import Settings


class Marts(Protocol):
    """A connection to the published marts."""

    def execute(self, sql: str, values: Mapping[str, object] | None = None, /) -> Marts:
        """Run one statement with values for its `$name`."""

    def fetchall(self) -> list[Any]:
        """Return all rows of the last result."""


@contextmanager
def open_marts(settings: Settings) -> Iterator[Marts]:
    """Open the published marts, which can only be read; they are the schema `marts`.

    Raises:
        WarehouseError: nothing is published yet, or it cannot be opened.
    """
    if settings.target == "prod":
        with snowflake.open_snowflake(settings, "reader") as connection:
            yield snowflake.TranslatedConnection(connection)
    else:
        with warehouse.open_published(settings) as connection:
            yield connection
