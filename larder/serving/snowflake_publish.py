"""Publish on Snowflake: clone the marts of a build, then switch readers over in one statement.

Readers see the schema `marts` of the published database. A generation is a schema that knows its
own name (table `larder_generation`): `marts` itself, and `generation_<name>` for earlier ones. The
new one is prepared as `incoming`, a clone that copies no data, and swapped with `marts`; what was
replaced then gets its own name. Whatever is killed in between, the next publication or rollback
first gives every schema the name it knows itself by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from larder.errors import WarehouseError
from larder.serving.publish import (
    KEPT_GENERATIONS,
    MARTS_SCHEMA,
    Publication,
    PublishedTable,
    expired,
    next_name,
)
from larder.settings import Settings
from larder.snowflake import ANALYTICS, PUBLISHED, fetch, open_snowflake
from larder.warehouse import METADATA_TABLE

if TYPE_CHECKING:
    from snowflake.connector import SnowflakeConnection

BUILT = f"{ANALYTICS}.{MARTS_SCHEMA}"
SERVED = f"{PUBLISHED}.{MARTS_SCHEMA}"
INCOMING = f"{PUBLISHED}.incoming"
READERS = "larder_reader"
NOT_PUBLISHED = "nothing is published yet. `larder run` loads, builds and publishes."


@dataclass(frozen=True)
class _Generation:
    name: str
    schema: str


def publish(settings: Settings, now: datetime, *, as_of_at: datetime | None = None) -> Publication:
    """Clone the marts of the build into a new generation and switch readers to it.

    Arguments and result are those of `larder.serving.publish.publish`.

    Raises:
        WarehouseError: the build has no marts, the clone is not equal to its source, or Snowflake
            refuses. Readers then have what they had.
    """
    with open_snowflake(settings, "transformer") as connection:
        tables = _tables(connection, ANALYTICS, MARTS_SCHEMA)
        if not tables:
            raise WarehouseError(
                f"{BUILT} has no tables, so there is nothing to publish. `larder build` makes them."
            )
        fetch(connection, f"create schema if not exists {SERVED}")
        _heal(connection)
        existing = _generations(connection)
        replaced = _present(existing)
        name = next_name(now, existing[0].name if existing else None)
        fetch(connection, f"create schema {INCOMING} clone {BUILT}")
        _write_metadata(connection, name, now, as_of_at or settings.as_of, tables)
        if _columns(connection, ANALYTICS, MARTS_SCHEMA) != _columns(
            connection, PUBLISHED, "incoming"
        ):
            raise WarehouseError(
                f"the clone {INCOMING} does not have the columns of {BUILT}, so it was not "
                "published. Something else builds at the same time; run `larder publish` again."
            )
        for right in (
            f"usage on schema {INCOMING}",
            f"select on all tables in schema {INCOMING}",
        ):
            fetch(connection, f"grant {right} to role {READERS}")
        fetch(connection, f"alter schema {SERVED} swap with {INCOMING}")
        _heal(connection)
        for old in expired([one.name for one in existing], name, replaced):
            fetch(connection, f"drop schema if exists {PUBLISHED}.{_schema_of(old)}")
        return _describe(connection, name, replaced)


def rollback(settings: Settings) -> Publication:
    """Switch readers back to the generation before the present one, which stays.

    Raises:
        WarehouseError: nothing is published, or there is no earlier generation.
    """
    with open_snowflake(settings, "transformer") as connection:
        _heal(connection)
        existing = _generations(connection)
        present = _present(existing)
        if present is None:
            raise WarehouseError(NOT_PUBLISHED)
        earlier = [one.name for one in existing if one.name < present]
        if not earlier:
            raise WarehouseError(
                f"there is no generation before {present} in {PUBLISHED} (the last "
                f"{KEPT_GENERATIONS} are kept), so there is nothing to go back to."
            )
        swapped = f"{PUBLISHED}.{_schema_of(earlier[0])}"
        fetch(connection, f"alter schema {SERVED} swap with {swapped}")
        _heal(connection)
        return _describe(connection, earlier[0], present)


def list_generations(settings: Settings) -> list[str]:
    """List the names of the whole generations, newest first."""
    with open_snowflake(settings, "transformer") as connection:
        return [one.name for one in _generations(connection)]


def published_generation(settings: Settings) -> str | None:
    """Return the generation that readers have, or null when nothing is published."""
    with open_snowflake(settings, "transformer") as connection:
        return _present(_generations(connection))


def describe_generation(settings: Settings, name: str) -> Publication:
    """Read what a generation says about itself.

    Raises:
        WarehouseError: there is no such generation.
    """
    with open_snowflake(settings, "transformer") as connection:
        return _describe(connection, name, None)


def find_schema(connection: SnowflakeConnection, name: str) -> str:
    """Return the schema that a generation is in now, such as `larder.marts`.

    Raises:
        WarehouseError: there is no such generation.
    """
    schema = next((one.schema for one in _generations(connection) if one.name == name), None)
    if schema is None:
        raise WarehouseError(f"there is no generation {name} in {PUBLISHED}.")
    return f"{PUBLISHED}.{schema}"


def _schema_of(name: str) -> str:
    return f"generation_{name.lower().replace('-', '_')}"


def _generations(connection: SnowflakeConnection) -> list[_Generation]:
    """Find the schemas that know which generation they are, newest first."""
    schemas = fetch(
        connection,
        f"select lower(table_schema) from {PUBLISHED}.information_schema.tables "
        "where lower(table_name) = %s",
        METADATA_TABLE,
    )
    if not schemas:
        return []
    named = " union all ".join(
        f"select distinct generation, '{schema}' from {PUBLISHED}.{schema}.{METADATA_TABLE}"
        for (schema,) in schemas
    )
    found = [_Generation(name, schema) for name, schema in fetch(connection, named)]
    return sorted(found, key=lambda one: one.name, reverse=True)


def _present(generations: Sequence[_Generation]) -> str | None:
    return next((one.name for one in generations if one.schema == MARTS_SCHEMA), None)


def _heal(connection: SnowflakeConnection) -> None:
    """Give every schema the name it knows itself by; drop what never was published."""
    generations = _generations(connection)
    present = _present(generations)
    for one in generations:
        if one.schema == MARTS_SCHEMA or one.schema == _schema_of(one.name):
            continue
        # an incoming one that is newer than what readers have was never switched to
        if one.schema != "incoming" or (present is not None and one.name < present):
            fetch(
                connection,
                f"alter schema {PUBLISHED}.{one.schema} rename to "
                f"{PUBLISHED}.{_schema_of(one.name)}",
            )
    fetch(connection, f"drop schema if exists {INCOMING}")


def _tables(connection: SnowflakeConnection, database: str, schema: str) -> list[str]:
    rows = fetch(
        connection,
        f"select lower(table_name) from {database}.information_schema.tables "
        "where lower(table_schema) = %s order by 1",
        schema,
    )
    return [name for (name,) in rows if name != METADATA_TABLE]


def _columns(
    connection: SnowflakeConnection, database: str, schema: str
) -> list[tuple[object, ...]]:
    return fetch(
        connection,
        "select table_name, column_name, data_type, is_nullable "
        f"from {database}.information_schema.columns "
        "where lower(table_schema) = %s and lower(table_name) != %s "
        "order by table_name, ordinal_position",
        schema,
        METADATA_TABLE,
    )


def _write_metadata(
    connection: SnowflakeConnection,
    name: str,
    now: datetime,
    as_of_at: datetime | None,
    tables: Sequence[str],
) -> None:
    target = f"{INCOMING}.{METADATA_TABLE}"
    fetch(
        connection,
        # transient, as all that is published: no Fail-safe keeps what an erasure has taken out
        f"create transient table {target} (generation varchar not null, "
        "published_at timestamp_ntz not null, as_of_at timestamp_ntz, "
        "table_name varchar not null, row_count number(38, 0) not null)",
    )
    counted = " union all ".join(
        f"select '{table}' as table_name, count(*) as row_count from {INCOMING}.{table}"
        for table in tables
    )
    fetch(
        connection,
        f"insert into {target} select %s, cast(%s as timestamp_ntz), cast(%s as timestamp_ntz), "
        f"table_name, row_count from ({counted})",
        name,
        _instant(now),
        _instant(as_of_at) if as_of_at else None,
    )


def _instant(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ")


def _describe(connection: SnowflakeConnection, name: str, replaced: str | None) -> Publication:
    schema = find_schema(connection, name)
    rows = fetch(
        connection,
        "select published_at, as_of_at, table_name, row_count "
        f"from {schema}.{METADATA_TABLE} order by table_name",
    )
    as_of_at = rows[0][1]
    return Publication(
        generation=name,
        path=Path(schema),
        published_at=rows[0][0].replace(tzinfo=UTC),
        as_of_at=as_of_at.replace(tzinfo=UTC) if as_of_at else None,
        tables=tuple(PublishedTable(row[2], row[3]) for row in rows),
        # clones share their storage with the build
        size_bytes=0,
        replaced=replaced,
    )
