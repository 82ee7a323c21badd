"""Read `entities.yml`, the one description of every entity of the landing zone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Literal, cast

import yaml

FieldType = Literal["text", "timestamp", "date", "integer", "number", "boolean", "list", "object"]
Domain = Literal["commerce", "health", "driver", "visitor"]

DOMAINS: tuple[Domain, ...] = ("commerce", "health", "driver", "visitor")
# Token column of raw, without its ending → the domain of its tokens. A record names one person of a
# domain in most entities; a delivery update names three (its driver and two accounts), which have a
# column each: in one they would stand for one another.
TOKENS: dict[str, Domain] = {
    **{domain: domain for domain in DOMAINS},
    "account": "driver",
    "trip_account": "driver",
}
DESCRIPTION = Path(__file__).with_name("entities.yml")


@dataclass(frozen=True)
class Field:
    """Describe one field of an entity; see the head of `entities.yml`."""

    name: str
    type: FieldType
    required: bool = False
    sources: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    happened: bool = False
    person: Domain | None = None
    token: str | None = None
    personal: bool = False
    goes_with: Domain | None = None

    @property
    def token_column(self) -> str:
        """The column of raw with the person's token: of the domain, unless it says another."""
        return f"{self.token or self.person}_token"


@dataclass(frozen=True)
class Entity:
    """Describe one entity: where it lands, its key, its class and its fields."""

    source: str
    name: str
    is_thing: bool
    key: tuple[str, ...]
    fields: tuple[Field, ...]
    key_falls_back_to_content: bool = False
    content_is_record: bool = False
    holds_several: bool = False

    @cached_property
    def path(self) -> str:
        """The folder below the landing zone and below raw: `<source>/<entity>`."""
        return f"{self.source}/{self.name}"

    @property
    def persons(self) -> tuple[Field, ...]:
        """The fields that hold the id of a person."""
        return tuple(field for field in self.fields if field.person)

    def field(self, name: str) -> Field:
        """Return the field of that name."""
        return next(field for field in self.fields if field.name == name)


def _read_field(name: str, description: str | dict[str, object]) -> Field:
    mapping = {"type": description} if isinstance(description, str) else dict(description)
    sources = (name, *cast(list[str], mapping.pop("from", [])))
    accepted = tuple(cast(list[str], mapping.pop("accepted", [])))
    return Field(name=name, sources=sources, accepted=accepted, **mapping)


def token_columns(domains: Iterable[Domain] = DOMAINS) -> tuple[str, ...]:
    """Return the columns of raw with tokens of these domains."""
    chosen = set(domains)
    return tuple(f"{name}_token" for name, domain in TOKENS.items() if domain in chosen)


@cache
def read_entities() -> dict[str, Entity]:
    """Return every entity by its path `<source>/<entity>`."""
    # the loader in C takes a tenth of the time: every command that reads raw waits for it
    description = yaml.load(DESCRIPTION.read_text(encoding="utf-8"), yaml.CSafeLoader)
    entities = {}
    for path, entry in description.items():
        source, name = path.split("/")
        entities[path] = Entity(
            source=source,
            name=name,
            is_thing=entry["class"] == "thing",
            key=tuple(entry["key"]),
            fields=tuple(_read_field(*item) for item in entry["fields"].items()),
            key_falls_back_to_content=entry.get("key_falls_back_to_content", False),
            content_is_record=entry.get("content") == "record",
            holds_several=entry.get("holds_several", False),
        )
    return entities
