"""Copy the build and the published generations without a person."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import duckdb
import pyarrow as pa

from larder.settings import Settings
from larder.warehouse import (
    METADATA_TABLE,
    PUBLISHED_STORAGE_VERSION,
    attach,
    literal,
    open_memory,
    quoted,
)
from loaders.asides import commit
from loaders.erasing.changes import CLICKS, HASH_COLUMN, find_changes, keys_sql
from loaders.erasing.person import Person
from loaders.erasing.report import Erasure

# Where it is not known, any other hash is as good until the full refresh.
NEW_HASH = (
    ", content_hash = coalesce("
    "(select new from rehashed where old = content_hash), md5(uuid()::varchar))"
)


def find_databases(settings: Settings) -> Iterator[tuple[Path, str | None]]:
    if settings.build_database.is_file():
        yield settings.build_database, None
    for generation in sorted(settings.generations_folder.glob("*/*.duckdb")):
        yield generation, PUBLISHED_STORAGE_VERSION


def find_keys(settings: Settings, person: Person) -> list[str]:
    """Return what names the person's clicks in tables, if they have no id; the build knows."""
    if not settings.build_database.is_file() or not person.tokens:
        return []
    tokens = ", ".join(map(literal, person.tokens))
    with open_memory(settings) as connection:
        attach(connection, settings.build_database, "present", read_only=True)
        try:
            rows = connection.execute(keys_sql(f"present.{CLICKS}", tokens)).fetchall()
        except duckdb.CatalogException:
            return []  # nothing was built, or nothing with menus
    return [row[0] for row in rows]


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
    hash that covers their id would tell whoever guesses it that the guess is right. It leaves out
    contested records, and those that an erasure which was killed has rewritten: what the build
    makes of these only a full refresh knows, so the next build is asked for one.
    """
    if not person.marks:
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
        if any(NEW_HASH in statement for statement in tables):
            texts = (pa.array(column, pa.string()) for column in (rehashed, rehashed.values()))
            connection.register("rehashed", pa.table([*texts], ["old", "new"]))
        settled = {None, *rehashed.values()}
        for statement in tables:
            rows = connection.execute(statement).fetchall()
            report.table_rows += len(rows)
            if not settled.issuperset(content_hash for (content_hash,) in rows):
                settings.refresh_file.touch()
        report.tables += len(tables)
        _count_again(connection)
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
    """Return the statements, for the catalog `cleaned`, that take the person out of its tables.

    Each returns a row for each one that it changes: its new content hash, if it has any.
    """
    columns = connection.execute(
        "select columns.schema_name, columns.table_name, column_name, columns.is_nullable "
        "from duckdb_columns() as columns inner join duckdb_tables() as tables "
        "using (database_name, schema_name, table_name) where database_name = $catalog",
        {"catalog": catalog},
    ).fetchall()
    marks = ", ".join(map(literal, person.marks))
    statements = []
    for change in find_changes(columns):
        name = f"{quoted(change.schema)}.{quoted(change.table)}"
        condition = f"{quoted(change.column)}::varchar in ({marks})"
        found = connection.execute(
            f"select count(*) from {quoted(catalog)}.{name} where {condition}"
        ).fetchall()[0][0]
        if found and change.keeps_row:
            statements.append(
                f"update cleaned.{name} set {quoted(change.column)} = null"
                f"{NEW_HASH if change.has_hash else ''} where {condition} "
                f"returning {HASH_COLUMN if change.has_hash else 'null'}"
            )
        elif found:
            # a hash that nobody knows: what comes back only a full refresh knows
            returned = "md5(uuid()::varchar)" if change.comes_back else "null"
            statements.append(f"delete from cleaned.{name} where {condition} returning {returned}")
    return statements


def _count_again(connection: duckdb.DuckDBPyConnection) -> None:
    """Let a generation say how many rows it has now."""
    found = connection.execute(
        "select schema_name from duckdb_tables() "
        "where database_name = 'cleaned' and table_name = $name",
        {"name": METADATA_TABLE},
    ).fetchall()
    if not found:
        return  # the build
    metadata = f"cleaned.{quoted(found[0][0])}.{METADATA_TABLE}"
    tables = connection.execute(
        "select schema_name, table_name from duckdb_tables() where database_name = 'cleaned' "
        f"and table_name in (select table_name from {metadata})"
    ).fetchall()
    for schema, table in tables:
        connection.execute(
            f"update {metadata} set row_count = "
            f"(select count(*) from cleaned.{quoted(schema)}.{quoted(table)}) "
            f"where table_name = {literal(table)}"
        )
