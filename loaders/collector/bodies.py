"""What a request's body holds: the lines that will land, and how many of them a load can take.

Lines are kept as they came, usable or not: what the load cannot take becomes a dead letter there.
Here is checked what tells a sender at once that it sends the wrong thing: that each record is a
JSON object, not nested too deeply, with all fields that its entity requires. What those hold is for
the load to judge, so that there is one judge of values.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any

import msgspec

from loaders.entities import Entity
from loaders.limits import MAX_LINE_BYTES, MAX_NESTING, nesting_depth
from loaders.several import MARK, told_apart

MAX_BODY_BYTES = MAX_LINE_BYTES
MAX_RECORDS = 10_000
# A page may send plain text to another site without asking first, so that has a record a line, too.
NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl", "text/plain")

# JSON allows line ends between its tokens only, so a record on one line means the same.
_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_SEVERAL = MARK.encode()
_NOTHING = (b"null", b'""')
_NULL = msgspec.Raw(b"null")
# what is there, and not empty
_FILLED = (
    Annotated[str, msgspec.Meta(min_length=1)] | int | float | bool | list[Any] | dict[str, Any]
)
# what may stand in the place of an object that another sender fills
_NO_OBJECT = str | int | float | bool | list[Any] | None
# what is opened is closed again, in JSON
_SHORTEST_DEEP_LINE = 2 * MAX_NESTING


class BodyError(Exception):
    """The body is refused as a whole; nothing of it is kept."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


class Received(msgspec.Struct, frozen=True, gc=False):
    """Hold the lines of a body for one entity, without their ends, and count them.

    `accepted` are those that a load can take by their form; each other one has its reason, in the
    words of the dead letters.
    """

    entity: str
    lines: list[bytes]
    accepted: int
    reasons: tuple[str, ...] = ()

    @property
    def rejected(self) -> int:
        """How many lines become dead letters."""
        return len(self.reasons)


def read_body(entity: Entity, body: bytes, content_type: str) -> Received:
    """Tell the records of a body: one JSON object, or one a line (`application/x-ndjson`).

    Several events in one record, as the delivery provider sends them, are records of their own.

    Raises:
        BodyError: the body is empty, too large, or has too many records.
    """
    if len(body) > MAX_BODY_BYTES:
        raise BodyError(413, f"the body has more than {MAX_BODY_BYTES:,} bytes")
    lines = _lines(body) if _has_lines(content_type) else _only_line(body)
    if entity.holds_several and _SEVERAL in body:
        lines = [part for line in lines for part in told_apart(line)]
    if not lines:
        raise BodyError(422, "the body is empty")
    if len(lines) > MAX_RECORDS:
        raise BodyError(413, f"the body has more than {MAX_RECORDS:,} records")
    reasons = form_of(entity).reasons(lines)
    return Received(entity.path, lines, len(lines) - len(reasons), reasons)


@lru_cache(maxsize=64)
def _has_lines(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() in NDJSON


def _lines(body: bytes) -> list[bytes]:
    lines = [line for line in map(bytes.strip, body.split(b"\n")) if line]
    return [line.translate(_ONE_LINE) for line in lines] if b"\r" in body else lines


def _only_line(body: bytes) -> list[bytes]:
    line = body.strip()
    if b"\n" in line or b"\r" in line:
        line = line.translate(_ONE_LINE)
    return [line] if line else []


_forms: dict[str, Form] = {}


def form_of(entity: Entity) -> Form:
    """Return the form that records of an entity have."""
    form = _forms.get(entity.path)
    if form is None:
        form = _forms[entity.path] = Form(entity)
    return form


class Form:
    """Tell which lines a load can take, by their form.

    The exact way finds every place where a required field may stand. Most senders use one place for
    each and fill it, which a decoder alone can tell, at a fifth of the time: what such a decoder
    takes is usable, and all else is judged exactly.
    """

    def __init__(self, entity: Entity) -> None:
        keys = () if entity.key_falls_back_to_content else entity.key
        # what the load looks at first gives its reason
        fields = sorted(
            (field for field in entity.fields if field.required),
            key=lambda one: one.name not in keys,
        )
        required = [field.sources for field in fields]
        self._roads = [
            (
                "missing_key" if field.name in keys else "missing_field",
                list(map(_road, field.sources)),
            )
            for field in fields
        ]
        every = {source: msgspec.Raw for sources in required for source in sources}
        self._find = msgspec.json.Decoder(_structure(every, is_optional=True)).decode
        places = {
            tuple(sources[min(n, len(sources) - 1)] for sources in required)
            for n in range(max(map(len, required), default=1))
        }
        self._quick = [
            msgspec.json.Decoder(_structure(dict.fromkeys(one, _FILLED), is_optional=False)).decode
            for one in sorted(places)
        ]

    def reasons(self, lines: list[bytes]) -> tuple[str, ...]:
        """Return why lines are not usable, a reason for each that is not."""
        # the decoder sees that bytes are no UTF-8 only in what it does not skip
        if all(map(bytes.isascii, lines)) and (
            max(map(len, lines)) < _SHORTEST_DEEP_LINE or all(map(_is_flat, lines))
        ):
            for decode in self._quick:
                try:
                    for line in lines:
                        decode(line)
                except _UNREADABLE:
                    continue
                return ()
        return tuple(filter(None, map(self._reason, lines)))

    def _reason(self, line: bytes) -> str:
        """Return why a line is not usable; nothing: it is."""
        try:
            text = line.decode()
            record = self._find(line)
        except UnicodeDecodeError:
            return "invalid_utf8"
        except msgspec.ValidationError:
            return "not_an_object"
        except msgspec.DecodeError:
            return "broken_json"
        except RecursionError:
            return "nested_too_deeply"
        if not (_is_flat(line) or nesting_depth(text) <= MAX_NESTING):
            return "nested_too_deeply"
        return self._missing(record)

    def _missing(self, record: object) -> str:
        for reason, alternatives in self._roads:
            for road in alternatives:
                value: Any = record
                for name in road:
                    value = getattr(value, name) if isinstance(value, msgspec.Struct) else None
                if value is not None and bytes(value) not in _NOTHING:
                    break
            else:
                return reason
        return ""


def _is_flat(line: bytes) -> bool:
    """Tell whether so little is opened that it cannot be nested too deeply."""
    return len(line) < _SHORTEST_DEEP_LINE or line.count(b"{") + line.count(b"[") <= MAX_NESTING


def _road(source: str) -> tuple[str, ...]:
    """Give the names on the way to a field: of a JSON path, or of a name at the top."""
    return tuple(source.removeprefix("$.").split("."))


def _structure(fields: dict[str, Any], *, is_optional: bool) -> type[msgspec.Struct]:
    """Make the structure that finds these fields, each of its type, and skips all others."""
    tree: dict[str, Any] = {}
    for source, type_ in fields.items():
        branch = tree
        *way, last = _road(source)
        for name in way:
            branch = branch.setdefault(name, {})
        branch.setdefault(last, type_)
    return _struct("Record", tree, is_optional=is_optional)


def _struct(name: str, tree: dict[str, Any], *, is_optional: bool) -> type[msgspec.Struct]:
    fields: list[Any] = []
    for part, branch in sorted(tree.items()):
        is_leaf = not isinstance(branch, dict)
        type_ = branch if is_leaf else _struct(part, branch, is_optional=is_optional)
        if not is_optional:
            fields.append((part, type_))
        else:
            fields.append((part, type_, _NULL) if is_leaf else (part, type_ | _NO_OBJECT, None))
    return msgspec.defstruct(name, fields, gc=False)
