"""Take a person out of Snowflake, as the roles that wrote there: the loader and the transformer.

What is looked for goes there as a file, into a table that only the session sees: Snowflake keeps
the text of every statement for a year.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from larder.settings import Settings
from larder.snowflake import (
    ANALYTICS,
    LANDING,
    PEOPLE,
    PUBLISHED,
    RAW,
    VAULT,
    Role,
    fetch,
    open_snowflake,
)
from larder.warehouse import METADATA_TABLE, literal, open_memory, quoted
from loaders.asides import make_aside, remove_aside
from loaders.entities import token_columns
from loaders.erasing.changes import CLICKS, HASH_COLUMN, find_changes, keys_sql
from loaders.erasing.person import Person
from loaders.erasing.report import Erasure
from loaders.erasing.search import pattern_of
from loaders.staging import temporary_table
from loaders.upload import STAGE as SEGMENTS
from loaders.upload import exchange_tokens, upload
from loaders.vault_copy import STAGE as ARRIVING

if TYPE_CHECKING:
    from snowflake.connector import SnowflakeConnection

RECORDS = f"{LANDING}.records"
MARTS = f"{ANALYTICS}.marts"
# What may hold a text.
TEXTS = ("TEXT", "VARCHAR", "VARIANT", "OBJECT", "ARRAY")
# A row of the records; a compacted segment has lines of several files.
PLACE = ("segment", "source_file", "line_number")


class AccountTables:
    """Everything in Snowflake: raw, what dbt builds, every generation, stages, the vault's copy."""

    def __init__(self, settings: Settings, now: Callable[[], datetime]) -> None:
        self._settings = settings
        self._now = now

    def find_keys(self, person: Person) -> list[str]:
        """Return what names the person's clicks in tables, if they have no id; the build knows."""
        with _opened(self._settings, "transformer", person.tokens) as (connection, tokens):
            if f"{ANALYTICS}.{CLICKS}" not in _tables(connection, ANALYTICS):
                return []  # nothing was built
            sql = keys_sql(f"{ANALYTICS}.{CLICKS}", f"select word from {tokens}")
            return [str(key) for (key,) in fetch(connection, sql)]

    def erase(self, person: Person, report: Erasure) -> None:
        """Take the person out; the next build is asked for a full refresh.

        Raises:
            WarehouseError: Snowflake refuses or is lost; run again, it goes on from there.
        """
        settings = self._settings
        if person.tokens:
            # the hashes of contents that the build has are of before
            settings.refresh_file.touch()
        upload(settings, self._now, erasing=person.tokens)
        with _opened(settings, "loader", person.tokens) as (connection, tokens):
            for stage in (SEGMENTS, ARRIVING):  # what any killed upload has left, of any home
                fetch(connection, f"remove @{stage}")
            # What this home has loaded has been replaced; the rest is of others, which replace
            # theirs when the person is erased there, or of homes that are gone.
            theirs = " or ".join(
                f"{column} in (select word from {tokens})" for column in token_columns()
            )
            _count(report, fetch(connection, f"delete from {RECORDS} where {theirs}"))
        with _opened(settings, "loader", person.telling()) as (connection, words):
            _delete_mentions(settings, connection, words, person, report)
        with _opened(settings, "transformer", person.marks) as (connection, marks):
            for database in (ANALYTICS, PUBLISHED):
                _erase_from_tables(connection, database, marks, report)

    @contextmanager
    def copies(self, texts: Sequence[str]) -> Iterator[Iterator[tuple[str, Path]]]:
        """Give of every table the rows that have one of the texts in them."""
        aside = make_aside(self._settings.raw_folder)
        try:
            yield self._copies(texts, aside / "rows.parquet")
        finally:
            remove_aside(aside)

    def _copies(self, texts: Sequence[str], file: Path) -> Iterator[tuple[str, Path]]:
        with _opened(self._settings, "loader", texts) as (connection, words):
            for stage in (SEGMENTS, ARRIVING):
                for name, *_ in fetch(connection, f"list @{stage}"):
                    # none of ours, so another home uploads: it was not looked into
                    yield f"@{stage.rpartition('.')[0]}.{name}", file.with_name("not fetched")
            yield from _rows(connection, RAW, words, file)
        with _opened(self._settings, "transformer", texts) as (connection, words):
            for database in (ANALYTICS, PUBLISHED):
                yield from _rows(connection, database, words, file)

    def forget(self, texts: Sequence[str], report: Erasure) -> None:
        """Take the tokens off the vault's copy, and prove it."""
        exchange_tokens(self._settings, self._now)
        aside = make_aside(self._settings.raw_folder)
        try:
            with _opened(self._settings, "loader", texts) as (connection, words):
                for name, file in _rows(connection, VAULT, words, aside / "rows.parquet"):
                    report.searched_files += 1
                    # tombstones stay, so that nobody takes anything of them any more
                    if name != f"{PEOPLE}.tombstones" and pq.read_metadata(file).num_rows:
                        report.traces.append(name)
        finally:
            remove_aside(aside)


@contextmanager
def _opened(
    settings: Settings, role: Role, texts: Sequence[str]
) -> Iterator[tuple[SnowflakeConnection, str]]:
    """Open a session with a table of these words, which ends with it."""
    schema = PEOPLE if role == "loader" else MARTS
    stage = f"{ARRIVING}/{uuid4().hex}"
    with open_snowflake(settings, role) as connection:
        if role == "transformer":
            stage = f"{MARTS}.words_{uuid4().hex}"
            fetch(connection, f"create temporary stage {stage}")
        rows = pa.table({"word": pa.array(dict.fromkeys(texts), pa.string())})
        with temporary_table(settings, connection, schema, f"@{stage}", rows) as words:
            yield connection, words


def _count(report: Erasure, answer: Sequence[tuple[int, ...]]) -> None:
    changed = int(answer[0][0])
    report.table_rows += changed
    report.tables += changed > 0


def _delete_mentions(
    settings: Settings,
    connection: SnowflakeConnection,
    words: str,
    person: Person,
    report: Erasure,
) -> None:
    """Delete the records of others that name the person; which do is judged as in files."""
    aside = make_aside(settings.raw_folder)
    try:
        file = aside / "rows.parquet"
        _write_rows(connection, RECORDS, _tables(connection, RAW)[RECORDS], words, file)
        with open_memory(settings) as memory:
            found = memory.execute(
                f"select distinct {', '.join(f'{name}::varchar as {name}' for name in PLACE)} "
                f"from read_parquet({literal(str(file))}) as held "
                "where regexp_matches(to_json(held)::varchar, $pattern)",
                {"pattern": pattern_of(person.telling())},
            ).fetchall()
    finally:
        remove_aside(aside)
    if found:
        columns = [pa.array(column, pa.string()) for column in zip(*found, strict=True)]
        rows = pa.table(columns, [*PLACE])
        with temporary_table(settings, connection, PEOPLE, f"@{ARRIVING}", rows) as places:
            is_there = " and ".join(f"records.{name}::varchar = places.{name}" for name in PLACE)
            statement = f"delete from {RECORDS} using {places} as places where {is_there}"
            _count(report, fetch(connection, statement))


def _erase_from_tables(
    connection: SnowflakeConnection, database: str, marks: str, report: Erasure
) -> None:
    """Let the rows of events stay without the person, and delete all others of theirs."""
    columns = fetch(
        connection,
        "select columns.table_schema, columns.table_name, columns.column_name, "
        f"columns.is_nullable = 'YES' {_OF_TABLES.format(database=database)}",
    )
    for change in find_changes(columns):
        table = f"{database}.{quoted(change.schema)}.{quoted(change.table)}"
        column = quoted(change.column)
        theirs = f"{column}::varchar in (select word from {marks})"
        statement = f"delete from {table} where {theirs}"
        if change.keeps_row:
            # any other hash will do until the full refresh
            new_hash = f", {HASH_COLUMN} = md5(uuid_string())" if change.has_hash else ""
            statement = f"update {table} set {column} = null{new_hash} where {theirs}"
        _count(report, fetch(connection, statement))
    for schema in sorted({schema for schema, table, *_ in columns if _is_metadata(table)}):
        _count_again(connection, f"{database}.{quoted(schema)}")


def _is_metadata(table: str) -> bool:
    return table.lower() == METADATA_TABLE


def _count_again(connection: SnowflakeConnection, schema: str) -> None:
    """Let a generation say how many rows it has now."""
    metadata = f"{schema}.{METADATA_TABLE}"
    for (table,) in fetch(connection, f"select table_name from {metadata}"):
        fetch(
            connection,
            f"update {metadata} set row_count = (select count(*) from {schema}.{table}) "
            f"where table_name = {literal(table)}",
        )


_OF_TABLES = (
    "from {database}.information_schema.columns as columns "
    "inner join {database}.information_schema.tables as tables "
    "on columns.table_schema = tables.table_schema and columns.table_name = tables.table_name "
    "where tables.table_type = 'BASE TABLE' and columns.table_schema != 'INFORMATION_SCHEMA' "
    "order by columns.table_schema, columns.table_name, columns.ordinal_position"
)


def _tables(connection: SnowflakeConnection, database: str) -> dict[str, list[str]]:
    """Return the columns of each table that may hold a text."""
    tables: dict[str, list[str]] = {}
    for schema, table, column, data_type in fetch(
        connection,
        "select columns.table_schema, columns.table_name, columns.column_name, "
        f"columns.data_type {_OF_TABLES.format(database=database)}",
    ):
        columns = tables.setdefault(f"{database}.{schema}.{table}".lower(), [])
        if data_type in TEXTS:
            columns.append(column)
    return tables


def _rows(
    connection: SnowflakeConnection, database: str, words: str, file: Path
) -> Iterator[tuple[str, Path]]:
    """Give every table of a database with a file of the rows that hold any of the words."""
    for table, columns in _tables(connection, database).items():
        if columns and table != words:
            _write_rows(connection, table, columns, words, file)
            yield table, file


def _write_rows(
    connection: SnowflakeConnection, table: str, columns: Sequence[str], words: str, file: Path
) -> None:
    holds = " or ".join(f"contains(held.{quoted(one)}::varchar, words.word)" for one in columns)
    with connection.cursor() as cursor:
        cursor.execute(f"select held.* from {table} as held inner join {words} as words on {holds}")
        found = cursor.fetch_arrow_all(force_return_table=True)
    assert isinstance(found, pa.Table)
    pq.write_table(found.rename_columns([one.lower() for one in found.column_names]), file)
