"""A stand-in for a Snowflake account: records statements, and knows tags, policies and stages.

It answers what a deployment asks (which columns there are, which policies mask them, what is
staged) from the statements it was given, as Snowflake documents it: a policy masks a column that
has the tag, its own or its schema's, if the tag has a policy for the column's type. It proves no
right and no syntax.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from snowflake.connector.errors import ProgrammingError

from larder.settings import Settings

Row = tuple[Any, ...]
SET_TAG = re.compile(
    r"alter (table|view) (?P<relation>\S+) modify column (?P<column>\w+) set tag \S+ = 'true'"
)
TAG_SCHEMA = re.compile(r"alter schema (?P<schema>\S+) set tag \S+ = 'true'")
POLICY = re.compile(r"masking policy larder_raw\.governance\.mask_(\w+)")
REFERENCES = re.compile(r"ref_entity_name => '(?P<relation>\S+)', ref_entity_domain => '(\w+)'")
PUT = re.compile(r"put 'file://(?P<path>.+)' @")

RECORDS = "larder_raw.landing.records"
CUSTOMERS = "larder_analytics.staging.stg_accounts__customers"
# relation → kind, and the types of some of its columns
BUILT: dict[str, tuple[str, dict[str, str]]] = {
    RECORDS: ("BASE TABLE", dict.fromkeys(("payload", "natural_key", "content_hash"), "varchar")),
    "larder_vault.people.tokens": ("BASE TABLE", {"person_hash": "varchar", "token": "varchar"}),
    "larder_vault.people.tombstones": ("BASE TABLE", {"person_hash": "varchar"}),
    CUSTOMERS: ("VIEW", {"full_name": "varchar", "birth_date": "date", "region": "varchar"}),
    "larder.marts.dim_items": ("BASE TABLE", {"item_id": "varchar"}),
}


@dataclass
class Account:
    """Take statements and answer them; `refuses` is the beginning of one that it does not take."""

    built: dict[str, tuple[str, dict[str, str]]] = field(default_factory=lambda: dict(BUILT))
    refuses: str = ""
    error: ProgrammingError | None = None
    status: str = "ACTIVE"
    statements: list[str] = field(default_factory=list)
    staged: dict[str, str] = field(default_factory=dict)
    tagged: set[str] = field(default_factory=set)
    policies: set[str] = field(default_factory=set)

    def execute(self, sql: str) -> list[Row]:
        """Record the statement and answer it."""
        if self.refuses and sql.startswith(self.refuses):
            raise self.error or ProgrammingError("no", errno=1)
        self.statements.append(sql)
        if found := SET_TAG.fullmatch(sql):
            self.tagged.add(f"{found['relation']}.{found['column']}")
        elif found := TAG_SCHEMA.fullmatch(sql):
            self.tagged.add(found["schema"])
        elif sql.startswith("alter tag") and "set\nmasking policy" in sql:
            self.policies |= set(POLICY.findall(sql))
        elif found := PUT.match(sql):
            self.staged.setdefault(found["path"].rpartition("/")[2], "Mon, 1 Jun 2026 00:00:00 GMT")
        elif sql.startswith("remove "):
            del self.staged[sql.rpartition("/")[2]]
        elif sql.startswith("list "):
            return [(f"code/{name}", 1, "hash", moment) for name, moment in self.staged.items()]
        elif "information_schema.columns" in sql:
            return self._columns(sql)
        elif found := REFERENCES.search(sql):
            return self._references(found["relation"])
        return []

    def _columns(self, sql: str) -> list[Row]:
        return [
            (schema.upper(), table.upper(), column.upper(), kind)
            for relation, (kind, columns) in self.built.items()
            for database, schema, table in [relation.split(".")]
            if f"from {database}.information_schema" in sql
            for column in columns
        ]

    def _references(self, relation: str) -> list[Row]:
        schema = relation.rpartition(".")[0]
        return [
            (column.upper(), self.status)
            for column, data_type in self.built[relation][1].items()
            if {f"{relation}.{column}", schema} & self.tagged and data_type in self.policies
        ]


def whole_settings(home: Any, **others: Any) -> Settings:
    """Return settings with everything that can be left out; the public key lies beside the home."""
    key = home.with_name("service.pub")
    return Settings(
        home=home,
        snowflake_service_public_key_path=key,
        snowflake_segments_url="s3://larder-landing/segments/",
        snowflake_segments_role_arn="arn:aws:iam::123456789012:role/larder-snowflake",
        snowflake_second_account="fresh.second",
        snowflake_first_account="fresh.first",
        **others,
    )
