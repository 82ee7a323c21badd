"""Builds of DuckDB brought to an emulated account, as if dbt had built them there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb

from larder.settings import Settings
from larder.snowflake import ANALYTICS, LANDING, PUBLISHED, fetch, open_snowflake
from larder.warehouse import literal

TYPES = {"TIMESTAMP": "timestamp_ntz"}


def copy_build(database: Path, there: Settings, aside: Path, schemas: Sequence[str]) -> None:
    """Let the build of an account be that of a file: the same rows, in another order."""
    aside.mkdir()
    with (
        duckdb.connect(str(database), read_only=True) as here,
        open_snowflake(there, "transformer") as account,
    ):
        for schema in schemas:
            fetch(account, f"drop schema if exists {ANALYTICS}.{schema} cascade")
            fetch(account, f"create schema {ANALYTICS}.{schema}")
            for name, columns in tables_of(here, schema).items():
                fetch(account, f"create table {ANALYTICS}.{schema}.{name} ({', '.join(columns)})")
                file = aside / f"{schema}.{name}.parquet"
                rows = here.execute(
                    f"copy (select * from {schema}.{name} as it order by hash(it)) "
                    f"to {literal(str(file))} (format parquet)"
                ).fetchall()[0][0]
                if rows:
                    stage = f"@{LANDING}.segments/copied"
                    fetch(account, f"put {literal(file.as_uri())} {stage} auto_compress = false")
                    fetch(
                        account,
                        f"copy into {ANALYTICS}.{schema}.{name} from {stage}/{file.name} "
                        "file_format = (type = parquet) match_by_column_name = case_insensitive",
                    )


def tables_of(here: duckdb.DuckDBPyConnection, schema: str) -> dict[str, list[str]]:
    """Return the columns of each table as Snowflake is told of them."""
    found: dict[str, list[str]] = {}
    for table, column, data_type, is_nullable in here.execute(
        "select table_name, column_name, data_type, is_nullable from duckdb_columns() "
        "where schema_name = ? and not internal order by table_name, column_index",
        [schema],
    ).fetchall():
        constraint = "" if is_nullable else " not null"
        found.setdefault(table, []).append(
            f"{column} {TYPES.get(data_type, data_type)}{constraint}"
        )
    return found


def clear_published(settings: Settings) -> None:
    """Let nothing be published on an account."""
    with open_snowflake(settings, "transformer") as connection:
        schemas = fetch(
            connection, f"select schema_name from {PUBLISHED}.information_schema.schemata"
        )
        for (schema,) in schemas:
            if schema.lower() == "marts" or schema.lower().startswith(("generation_", "incoming")):
                fetch(connection, f"drop schema {PUBLISHED}.{schema} cascade")
