"""What goes over the bus: one shape for every trip event, whatever body it came in.

The fields are found as `loaders/entities.yml` says. Of people there is the driver's token only.
"""

from __future__ import annotations

import csv
import json
import string
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from larder.settings import PROJECT_ROOT
from larder.warehouse import literal, quoted
from loaders.checks import typed_fields_sql
from loaders.entities import Entity, read_entities

PUBLISHED_ENTITY = "trips/trip_events"
TYPES_SEED = PROJECT_ROOT / "seeds" / "published_event_types.csv"
VERSION = 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation + "\t\n\r", " "))

# Gives a name for a content, which without the vault's key confirms no guess of it.
NameOf = Callable[[bytes], str]


@dataclass(frozen=True)
class Message:
    """Hold a message and what its way needs.

    `event_key` tells events apart, `partition_key` trips: both are keyed hashes. `occurred_at` in
    microseconds since 1970, UTC.
    """

    event_key: str
    partition_key: str
    occurred_at: int
    driver_key: str | None
    body: bytes


def published_types() -> tuple[str, ...]:
    """Return the types of events that go on the bus."""
    with TYPES_SEED.open(encoding="utf-8", newline="") as file:
        return tuple(row["event_type"] for row in csv.DictReader(file))


def read_messages(
    connection: duckdb.DuckDBPyConnection, segments: Sequence[Path], name_of: NameOf
) -> Iterator[Message]:
    """Read the chosen events of segments as messages, oldest first.

    Of copies with other content the one with the smallest content hash is taken, as by the models.
    """
    types = published_types()
    if not segments or not types:
        return
    entity = read_entities()[PUBLISHED_ENTITY]
    rows = connection.execute(_chosen_sql(entity, segments, types))
    assert rows.description is not None
    columns = [column[0] for column in rows.description]
    while batch := rows.fetchmany(1000):
        for values in batch:
            row = dict(zip(columns, values, strict=True))
            persons = [
                (row[field.name], row[field.token_column])
                for field in entity.persons
                if row[field.name]
            ]
            yield _message(row, persons, name_of)


def _chosen_sql(entity: Entity, segments: Sequence[Path], types: Sequence[str]) -> str:
    files = ", ".join(literal(str(segment)) for segment in segments)
    names = ", ".join(literal(one) for one in types)
    # most events are positions: only what may be of a chosen type is worth reading as JSON
    may_be = " or ".join(f"contains(payload, {literal(one)})" for one in (*types, "\\u"))
    fields = ", ".join(quoted(field.name) for field in entity.fields)
    tokens = ", ".join(field.token_column for field in entity.persons)
    return f"""
        with candidates as (
            select payload as line, natural_key, content_hash, received_at, {tokens}
            from read_parquet([{files}], hive_partitioning = false)
            where rejection_reason is null and payload is not null and ({may_be})
        ),
        typed as ({typed_fields_sql(entity, "candidates")})
        select natural_key, received_at, {tokens}, {fields}
        from typed
        where event_type in ({names})
        qualify row_number() over (
            partition by natural_key order by content_hash, received_at
        ) = 1
        order by occurred_at, natural_key
    """


def _words(text: str) -> str:
    return f" {text.translate(_PUNCTUATION)} "


def _names(text: str, identifier: str) -> bool:
    return identifier in text and _words(identifier) in _words(text)


def pseudonymised(text: str | None, persons: Sequence[tuple[str, str | None]]) -> str | None:
    """Return a text with tokens for the ids of people in it, as the macro of that name does.

    `persons` are pairs of an id and its token.
    """
    if not text:
        return text
    told = [(*one, chr(mark)) for mark, one in enumerate(persons, 1) if _names(text, one[0])]
    for identifier, _, mark in told:  # a mark at first, as a token may hold the next id
        text = text.replace(identifier, mark)
    for _, token, mark in told:
        text = text.replace(mark, token or "-")
    return text


def _message(
    row: dict[str, Any], persons: Sequence[tuple[str, str | None]], name_of: NameOf
) -> Message:
    event_key = name_of(b"event " + row["natural_key"].encode())
    trip_key = name_of(b"trip " + row["trip_id"].encode()) if row["trip_id"] else None

    is_placed = row["longitude"] is not None and row["latitude"] is not None
    content = {
        "version": VERSION,
        # where the sender gave none, its key would be a hash of all that was sent, the driver's
        # id among it, and so would confirm a guess of that
        "event_id": pseudonymised(row["event_id"], persons) or event_key,
        "event_type": row["event_type"],
        "occurred_at": _instant(row["occurred_at"]),
        "received_at": _instant(row["received_at"]),
        "driver_key": row["driver_token"],
        "trip_id": pseudonymised(row["trip_id"], persons),
        "trip_external_id": pseudonymised(row["trip_external_id"], persons),
        "geofence_id": pseudonymised(row["geofence_id"], persons),
        "longitude": float(row["longitude"]) if is_placed else None,
        "latitude": float(row["latitude"]) if is_placed else None,
    }
    occurred_at = row["occurred_at"].replace(tzinfo=UTC) - _EPOCH
    return Message(
        event_key=event_key,
        partition_key=trip_key or event_key,
        occurred_at=round(occurred_at.total_seconds() * 1_000_000),
        driver_key=row["driver_token"],
        body=json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(),
    )


def _instant(moment: datetime) -> str:
    """Return an instant that is UTC without saying so, with microseconds, as text that says so."""
    return moment.isoformat(timespec="microseconds") + "Z"
