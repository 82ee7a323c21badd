"""Which columns hold personal data, read from the flags of the project: one source of truth.

Those are `personal: true` in the meta of a column (models, sources, seeds, snapshots), and the
person fields of `loaders/entities.yml`, which land in a payload.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from larder.errors import DeployError
from larder.settings import PROJECT_ROOT
from larder.snowflake import ANALYTICS, PUBLISHED, RAW, VAULT
from loaders.entities import read_entities

# What the vault knows people by; described nowhere else, for no model may read it.
OF_THE_VAULT = (
    ("tokens", "person_hash"),
    ("tokens", "token"),
    ("tombstones", "person_hash"),
)
# The schema whose tables are published under their own names.
MARTS = "marts"


@dataclass(frozen=True, order=True)
class Column:
    """Name a column of Snowflake, in lower case."""

    database: str
    schema: str
    table: str
    name: str

    def __post_init__(self) -> None:
        """Refuse what is no plain name, because statements are made of it."""
        for part in (self.database, self.schema, self.table, self.name):
            if not re.fullmatch(r"[a-z_][a-z0-9_]*", part):
                raise DeployError(
                    f"{part!r} is flagged as personal but is no name of letters, digits and "
                    "underscores. Rename it."
                )

    @property
    def relation(self) -> str:
        """The table or view it is in."""
        return f"{self.database}.{self.schema}.{self.table}"

    def __str__(self) -> str:
        """Return the whole name."""
        return f"{self.relation}.{self.name}"


def flagged_columns(project: Path = PROJECT_ROOT) -> list[Column]:
    """Return every column that is flagged as personal, sorted."""
    in_sources = set(_of_sources(project)) | set(_payloads())
    found = {
        *in_sources,
        # the records of all entities lie in one table
        *(Column(RAW, "landing", "records", column.name) for column in in_sources),
        *(Column(VAULT, "people", table, name) for table, name in OF_THE_VAULT),
        *_of_models(project),
    }
    published = {
        Column(PUBLISHED, MARTS, column.table, column.name)
        for column in found
        if (column.database, column.schema) == (ANALYTICS, MARTS)
    }
    return sorted(found | published)


def _payloads() -> Iterator[Column]:
    for entity in read_entities().values():
        if any(field.person or field.personal for field in entity.fields):
            yield Column(ANALYTICS, "raw", f"{entity.source}_{entity.name}", "payload")


def _of_sources(project: Path) -> Iterator[Column]:
    for file in sorted((project / "models").rglob("*.yml")):
        for source in _read(file).get("sources") or []:
            for table in source["tables"]:
                for name in _flagged(table):
                    schema = source.get("schema", source["name"])
                    yield Column(ANALYTICS, schema, table.get("identifier", table["name"]), name)


def _of_models(project: Path) -> Iterator[Column]:
    settings = _read(project / "dbt_project.yml")
    for kind, folder in (("models", "models"), ("seeds", "seeds"), ("snapshots", "snapshots")):
        for file in sorted((project / folder).rglob("*.yml")):
            for node in _read(file).get(kind) or []:
                for name in _flagged(node):
                    layer = file.relative_to(project / folder).parts[0]
                    of_kind = settings[kind][settings["name"]]
                    schema = (of_kind[layer] if kind == "models" else of_kind)["+schema"]
                    yield Column(ANALYTICS, schema, node["name"], name)


def _flagged(node: dict[str, Any]) -> Iterator[str]:
    for column in node.get("columns") or []:
        meta = (column.get("config") or {}).get("meta") or column.get("meta") or {}
        if meta.get("personal"):
            yield column["name"]


def _read(file: Path) -> dict[str, Any]:
    # by the loader in C: what is written in Python takes seconds for the project
    content: dict[str, Any] = yaml.load(file.read_text(encoding="utf-8"), yaml.CSafeLoader) or {}
    return content
