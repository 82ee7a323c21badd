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
        "movement_key",
        "occurred_at",
        "order_id",
        "order_line_key",
        "ordered_at",
        "sale_key",
        "sold_at",
    }
)
# Clicks, sessions and what a driver sent: such a row is made of a person's token, or belongs to
# others that tell the same person, so it goes. What raw keeps of it comes back, without the person,
# with the full refresh that the next build is asked for.
OWN_COLUMNS = frozenset({"menu_event_key", "session_key", "trip_id"})
HASH_COLUMN = "content_hash"
CLICKS = "anonymised.anon_menu__menu_events"


def keys_sql(table: str, tokens: str) -> str:
    """Give SQL for what clicks without an id are named by: themselves and their sessions.

    As in `models/`: a hash over the tokens of who clicked. `tokens` is what they are to be in.
    """
    return (
        "with clicks as ("
        f"select distinct menu_event_key from {table} where not has_event_id "
        f"and (visitor_key in ({tokens}) or customer_key in ({tokens}))"
        ") select menu_event_key from clicks "
        "union all select md5('session|' || menu_event_key) from clicks "
        "union all select md5('e|' || menu_event_key) from clicks"
    )


@dataclass(frozen=True)
class Change:
    """Name a column that holds tokens, and whether its rows stay without the person, or go.

    `has_hash`: the table has the hash of each record's content, which covers the person.
    `comes_back`: a full refresh makes a row that goes anew, as far as raw keeps it.
    """

    schema: str
    table: str
    column: str
    keeps_row: bool
    has_hash: bool
    comes_back: bool


def find_changes(columns: Iterable[tuple[str, str, str, bool]]) -> Iterator[Change]:
    """Find where people may be, from schema, table, name and nullability of all columns."""
    tables: dict[tuple[str, str], list[tuple[str, bool]]] = {}
    for schema, table, column, is_nullable in columns:
        tables.setdefault((schema, table), []).append((column, is_nullable))
    for (schema, table), described in tables.items():
        names = {column.lower() for column, _ in described}
        for column, is_nullable in described:
            if column.lower().endswith(("_token", "_key")):
                comes_back = not names.isdisjoint(OWN_COLUMNS)
                keeps_row = is_nullable and not comes_back and not names.isdisjoint(EVENT_COLUMNS)
                yield Change(schema, table, column, keeps_row, HASH_COLUMN in names, comes_back)
