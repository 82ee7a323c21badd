"""How a person leaves the tables of a warehouse, on either engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

EVENT_COLUMNS = frozenset(
    {
        "basket_id",
        "event_id",
        "event_key",
        "interacted_at",
        "menu_event_key",
        "movement_key",
        "occurred_at",
        "order_id",
        "order_line_key",
        "ordered_at",
        "sale_key",
        "session_key",
        "sold_at",
    }
)
HASH_COLUMN = "content_hash"


@dataclass(frozen=True)
class Change:
    """Name a column that holds tokens, and whether its rows stay without the person, or go.

    `has_hash`: the table has the hash of each record's content, which covers the person.
    """

    schema: str
    table: str
    column: str
    keeps_row: bool
    has_hash: bool


def find_changes(columns: Iterable[tuple[str, str, str, bool]]) -> Iterator[Change]:
    """Find where people may be, from schema, table, name and nullability of all columns."""
    tables: dict[tuple[str, str], list[tuple[str, bool]]] = {}
    for schema, table, column, is_nullable in columns:
        tables.setdefault((schema, table), []).append((column, is_nullable))
    for (schema, table), described in tables.items():
        names = {column.lower() for column, _ in described}
        for column, is_nullable in described:
            if column.lower().endswith(("_token", "_key")):
                keeps_row = is_nullable and not names.isdisjoint(EVENT_COLUMNS)
                yield Change(schema, table, column, keeps_row, HASH_COLUMN in names)
