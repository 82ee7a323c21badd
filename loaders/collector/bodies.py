"""What a request's body holds: the lines that will land, and how many of them a load can take.

Lines are kept as they came, usable or not: what the load cannot take becomes a dead letter there.
Here is checked what tells a sender at once that it sends the wrong thing: that each record is a
JSON object, not nested too deeply, with all fields that its entity requires. What those hold is for
the load to judge, so that there is one judge of values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec

from loaders.entities import Entity
from loaders.limits import MAX_LINE_BYTES, MAX_NESTING, nesting_depth
from loaders.several import told_apart

MAX_BODY_BYTES = MAX_LINE_BYTES
MAX_RECORDS = 10_000
# A page may send plain text to another site without asking first, so that has a record a line, too.
NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl", "text/plain")

# JSON allows line ends between its tokens only, so a record on one line means the same.
_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")
_NOTHING = (b"null", b'""')
_NULL = msgspec.Raw(b"null")


class BodyError(Exception):
    """The body is refused as a whole; nothing of it is kept."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


@dataclass(frozen=True, slots=True)
class Received:
    """Hold the lines of a body for one entity, without their ends, and count them.

    `accepted` are those that a load can take by their form; `rejected` the others.
    """

    entity: str
    lines: list[bytes]
    accepted: int
    rejected: int


def read_body(entity: Entity, body: bytes, content_type: str) -> Received:
    """Tell the records of a body: one JSON object, or one a line (`application/x-ndjson`).

    Several events in one record, as the delivery provider sends them, are records of their own.

    Raises:
        BodyError: the body is empty, too large, or has too many records.
    """
    if len(body) > MAX_BODY_BYTES:
        raise BodyError(413, f"the body has more than {MAX_BODY_BYTES:,} bytes")
    lines = [body]
    if content_type.partition(";")[0].strip().lower() in NDJSON:
        lines = body.split(b"\n")
    lines = [line.translate(_ONE_LINE) for line in map(bytes.strip, lines) if line]
    if entity.holds_several:
        lines = [part for line in lines for part in told_apart(line)]
    if not lines:
        raise BodyError(422, "the body is empty")
    if len(lines) > MAX_RECORDS:
        raise BodyError(413, f"the body has more than {MAX_RECORDS:,} records")
    is_usable = usable(entity)
    accepted = sum(map(is_usable, lines))
    return Received(entity.path, lines, accepted, len(lines) - accepted)


@cache
def usable(entity: Entity) -> Callable[[bytes], bool]:
    """Return what tells whether a load can take a line of the entity, by its form."""
    required = [field.sources for field in entity.fields if field.required]
    decoder = msgspec.json.Decoder(_structure({source for one in required for source in one}))
    roads = [[_road(source) for source in sources] for sources in required]

    def is_usable(line: bytes) -> bool:
        try:
            record = decoder.decode(line)
        except (msgspec.DecodeError, RecursionError):
            return False
        for alternatives in roads:
            for road in alternatives:
                value: Any = record
                for name in road:
                    value = getattr(value, name, None)
                if value is not None and bytes(value) not in _NOTHING:
                    break
            else:
                return False
        return line.count(b"{") + line.count(b"[") <= MAX_NESTING or (
            nesting_depth(line.decode(errors="replace")) <= MAX_NESTING
        )

    return is_usable


def _road(source: str) -> tuple[str, ...]:
    """Give the names on the way to a field: of a JSON path, or of a name at the top."""
    return tuple(source.removeprefix("$.").split("."))


def _structure(sources: set[str]) -> type[msgspec.Struct]:
    """Make the structure that finds these fields, and skips all others."""
    tree: dict[str, Any] = {}
    for source in sources:
        branch = tree
        *way, last = _road(source)
        for name in way:
            branch = branch.setdefault(name, {})
        branch.setdefault(last, {})
    return _struct("Record", tree)


def _struct(name: str, tree: dict[str, Any]) -> type[msgspec.Struct]:
    fields: list[Any] = [
        (part, _struct(part, branch) | None, None) if branch else (part, msgspec.Raw, _NULL)
        for part, branch in sorted(tree.items())
    ]
    return msgspec.defstruct(name, fields)
