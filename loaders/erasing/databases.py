"""Copy the build and the published generations without a person."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import duckdb

from larder.settings import Settings
from larder.warehouse import PUBLISHED_STORAGE_VERSION, attach, literal, open_memory, quoted
from loaders.erasing.person import Person
from loaders.erasing.report import Erasure
from loaders.segments import commit

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
# Where the record is not known any more (an erasure was killed), any other hash is as good.
NEW_HASH = (
    ", content_hash = coalesce("
    "(select new from rehashed where old = content_hash), md5(uuid()::varchar))"
)


def find_databases(settings: Settings) -> Iterator[tuple[Path, str | None]]:
    if settings.build_database.is_file():
        yield settings.build_database, None
    for generation in sorted(settings.generations_folder.glob("*/*.duckdb")):
        yield generation, PUBLISHED_STORAGE_VERSION


def erase_from_database(
    settings: Settings,
    database: Path,
    version: str | None,
    person: Person,
    rehashed: Mapping[str, str],
    report: Erasure,
) -> None:
    """Replace the file by a copy without the person; no free block of it has ever seen them.

    `rehashed` has the content hash of each record that stays by the one it had with the person: a
    hash that covers their id would tell whoever guesses it that the guess is right.
    """
    if not person.tokens:
        return
    beside = [database.with_name(f".{database.name}.{step}.erasing") for step in (1, 2)]
    for leftover in database.parent.glob(f".{database.name}.*.erasing*"):
        leftover.unlink()
    with open_memory(settings) as connection:
        attach(connection, database, "present", read_only=True)
        tables = _tables_with_person(connection, "present", person)
        if not tables and version is not None:
            return  # a generation was copied when the person was not in it
        attach(connection, beside[0], "cleaned", read_only=False, storage_version=version)
        connection.execute("copy from database present to cleaned")
        connection.execute("detach present")
        connection.execute("create temp table rehashed (old varchar, new varchar)")
        if rehashed:
            connection.executemany("insert into rehashed values (?, ?)", [*rehashed.items()])
        for statement in tables:
            report.table_rows += connection.execute(statement).fetchall()[0][0]
        report.tables += len(tables)
        attach(connection, beside[1], "rewritten", read_only=False, storage_version=version)
        connection.execute("copy from database cleaned to rewritten")
        connection.execute("detach cleaned")
        connection.execute("detach rewritten")
    beside[0].unlink()
    shutil.copymode(database, beside[1])
    commit(beside[1], database)


def _tables_with_person(
    connection: duckdb.DuckDBPyConnection, catalog: str, person: Person
) -> list[str]:
    """Return the statements, for the catalog `cleaned`, that take the person out of its tables."""
    columns: dict[tuple[str, str], list[tuple[str, bool]]] = {}
    for schema, table, column, is_nullable in connection.execute(
        "select columns.schema_name, columns.table_name, column_name, columns.is_nullable "
        "from duckdb_columns() as columns inner join duckdb_tables() as tables "
        "using (database_name, schema_name, table_name) where database_name = $catalog",
        {"catalog": catalog},
    ).fetchall():
        columns.setdefault((schema, table), []).append((column, is_nullable))
    tokens = ", ".join(literal(token) for token in person.tokens)
    statements = []
    for (schema, table), described in columns.items():
        name = f"{quoted(schema)}.{quoted(table)}"
        is_event = not EVENT_COLUMNS.isdisjoint(column for column, _ in described)
        changes = NEW_HASH if ("content_hash", True) in described else ""
        for column, is_nullable in described:
            if not column.endswith(("_token", "_key")):
                continue
            condition = f"{quoted(column)}::varchar in ({tokens})"
            found = connection.execute(
                f"select count(*) from {quoted(catalog)}.{name} where {condition}"
            ).fetchall()[0][0]
            if found and is_event and is_nullable:
                statements.append(
                    f"update cleaned.{name} set {quoted(column)} = null{changes} where {condition}"
                )
            elif found:
                statements.append(f"delete from cleaned.{name} where {condition}")
    return statements
