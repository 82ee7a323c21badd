"""Tag the columns that are flagged as personal, and stop where one of them has no policy."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Protocol

from larder.deploy.flags import Column
from larder.deploy.statements import Statement
from larder.errors import DeployError

TAG = "larder_raw.governance.personal_data"
FLAGS = "flags of the project"
CHECK = "check of the masking"


class Connection(Protocol):
    """What a deployment needs of a connection to Snowflake."""

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows."""
        ...


def columns_statement(database: str) -> Statement:
    """Return the query for all columns of a database: schema, table, column, type of the table."""
    return Statement(
        "select columns.table_schema, columns.table_name, columns.column_name, tables.table_type\n"
        f"from {database}.information_schema.columns as columns\n"
        f"inner join {database}.information_schema.tables as tables\n"
        "    on columns.table_schema = tables.table_schema\n"
        "    and columns.table_name = tables.table_name",
        CHECK,
        0,
    )


def policies_statement(relation: str, kind: str) -> Statement:
    """Return the query for the columns of a relation that a policy masks now: column, status."""
    database = relation.partition(".")[0]
    return Statement(
        "select ref_column_name, policy_status\n"
        f"from table({database}.information_schema.policy_references(\n"
        f"    ref_entity_name => '{relation}', ref_entity_domain => '{kind}'\n"
        "))\n"
        "where policy_kind = 'MASKING_POLICY'",
        CHECK,
        0,
    )


def tag_statement(column: Column, kind: str) -> Statement:
    """Return the statement that tags a column of a table or view."""
    return Statement(
        f"alter {kind} {column.relation} modify column {column.name} set tag {TAG} = 'true'",
        FLAGS,
        0,
    )


def expected_kind(column: Column) -> str:
    """Return what a column's relation is where dbt has built as this project says."""
    is_view = column.database == "larder_analytics" and column.schema in ("raw", "staging")
    return "view" if is_view else "table"


def existing(connection: Connection, flagged: Collection[Column]) -> dict[Column, str]:
    """Return those of the flagged columns that are there, with `table` or `view`."""
    found = {}
    for database in sorted({column.database for column in flagged}):
        for schema, table, name, kind in connection.execute(columns_statement(database).sql):
            key = (database, schema.lower(), table.lower(), name.lower())
            found[key] = "view" if "VIEW" in kind.upper() else "table"
    return {
        column: found[key]
        for column in flagged
        if (key := (column.database, column.schema, column.table, column.name)) in found
    }


def unmasked(connection: Connection, columns: Mapping[Column, str]) -> Iterator[Column]:
    """Yield the columns that no masking policy protects at this moment.

    A policy that Snowflake lists but cannot use (two on one column, a wrong type) protects nothing.
    """
    for relation, kind in sorted({(column.relation, kind) for column, kind in columns.items()}):
        rows = connection.execute(policies_statement(relation, kind).sql)
        masked = {name.lower() for name, status in rows if status == "ACTIVE"}
        yield from sorted(
            column
            for column in columns
            if column.relation == relation and column.name not in masked
        )


def check(connection: Connection, flagged: Collection[Column]) -> int:
    """Return how many flagged columns there are, all of them masked.

    Raises:
        DeployError: at least one has no masking policy; names each.
    """
    there = existing(connection, flagged)
    if open_columns := list(unmasked(connection, there)):
        raise DeployError(
            f"No masking policy protects {', '.join(map(str, open_columns))}, flagged as personal. "
            "Nothing more was granted. Give the tag a policy for the type of each column "
            "(deploy/snowflake/50_masking.sql), or take out what keeps the tag off, and deploy "
            "again."
        )
    return len(there)
