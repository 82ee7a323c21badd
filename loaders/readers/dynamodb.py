"""Read what DynamoDB exports to S3 (DynamoDB JSON), full and incremental, as plain records.

A line of a full export is `{"Item": {"price": {"N": "6.5"}, …}}`. A line of an incremental one has
`Keys`, and the `NewImage` and `OldImage` that the export was asked for; without a `NewImage` the
item was deleted. See "DynamoDB table export output format" in the developer guide of DynamoDB.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import pyarrow as pa

from loaders.entities import Entity
from loaders.landing import LandingFile
from loaders.readers.exact_json import Number, dumps, loads
from loaders.readers.line_feeds import split_stream
from loaders.readers.lines import Line, Lines, to_batch
from loaders.readers.streams import BYTE_ORDER_MARK, plain_bytes

IMAGES = ("Item", "NewImage", "OldImage", "Keys")
OTHERS = ("Metadata",)
# The start of the file tells what it is, also where its first lines are broken.
SNIFFED_BYTES = 65_536
SNIFFED_LINES = 16
_LINE = re.compile(rb'\s*\{\s*"(?:Item|Metadata|Keys|NewImage|OldImage)"\s*:\s*\{')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
# A number of more digits would be rounded by whoever reads it as a binary one; as text it is whole.
EXACT_DIGITS = 15
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BROKEN = "broken_dynamodb|an attribute is not written as one type and its value"
NO_DELETION = (
    "deleted_event|the item was deleted, but what happened stays: an event has no deletion"
)


class BrokenAttributeError(Exception):
    """An attribute is not one type and its value."""


def is_dynamodb(file: LandingFile) -> bool:
    """Tell by its content whether a file of lines or a JSON file is an export of DynamoDB.

    Raises:
        UnreadableFileError: the compressed data is damaged.
    """
    with plain_bytes(file) as stream:
        start = stream.read(SNIFFED_BYTES).removeprefix(BYTE_ORDER_MARK)
    lines = islice(filter(bytes.strip, start.split(b"\n")), SNIFFED_LINES)
    return any(_LINE.match(line) for line in lines)


def dynamodb_lines(file: LandingFile, entity: Entity) -> Lines:
    """Return the lines as plain records; what is no line of an export stays as it is.

    The errors are those of `plain_bytes`.
    """

    def batches() -> Iterator[pa.RecordBatch]:
        with plain_bytes(file) as stream:
            for batch in split_stream(stream):
                numbers, texts, problems, cut_off = (column.to_pylist() for column in batch.columns)
                yield to_batch(
                    (
                        (number, text, problem)
                        if text is None or problem
                        else _plain_line(number, text, entity)
                        for number, text, problem in zip(numbers, texts, problems, strict=True)
                    ),
                    is_cut_off=any(cut_off),
                )

    return Lines(batches())


def _plain_line(number: int, text: str, entity: Entity) -> Line:
    record: Any = None
    with suppress(ValueError, RecursionError):
        record = loads(text)
    if not is_export_line(record):
        return number, text, None
    try:
        plain, problem = _plain_record(record, entity)
        return number, dumps(plain), problem
    except (BrokenAttributeError, RecursionError):
        return number, text, BROKEN


def is_export_line(record: Any) -> bool:
    """Tell whether a record is a line of an export: images, and nothing else."""
    return (
        isinstance(record, dict)
        and all(name in IMAGES + OTHERS for name in record)
        and any(name in IMAGES for name in record)
        and all(isinstance(image, dict) for image in record.values())
    )


def _plain_record(record: dict[str, Any], entity: Entity) -> tuple[dict[str, Any], str | None]:
    for name in ("Item", "NewImage"):
        if name in record:
            return plain_image(record[name]), None
    plain = plain_image(record.get("OldImage", {})) | plain_image(record.get("Keys", {}))
    if not entity.is_thing:
        return plain, NO_DELETION
    return plain | {"is_deleted": True} | _updated_at(record), None


def _updated_at(record: dict[str, Any]) -> dict[str, str]:
    """Return when the item was deleted: the microsecond of the write that did it."""
    written = record.get("Metadata", {}).get("WriteTimestampMicros")
    text = written.get("N") if isinstance(written, dict) else written
    try:
        moment = EPOCH + timedelta(microseconds=int(str(text)))
    except (ValueError, OverflowError):
        return {}
    return {"updated_at": moment.isoformat(timespec="microseconds").replace("+00:00", "Z")}


def plain_image(image: dict[str, Any]) -> dict[str, Any]:
    """Return the record of an image: its attributes without their types.

    Raises:
        BrokenAttributeError: one of them is not one type and its value.
    """
    return {name: _plain_value(attribute) for name, attribute in image.items()}


def _plain_value(attribute: Any) -> Any:
    if not isinstance(attribute, dict) or len(attribute) != 1:
        raise BrokenAttributeError
    ((kind, value),) = attribute.items()
    read = _READERS.get(kind)
    if read is None:
        raise BrokenAttributeError
    return read(value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or isinstance(value, Number):
        raise BrokenAttributeError
    return value


def _number(value: Any) -> str:
    text = str(value) if isinstance(value, str) else ""
    if not _NUMBER.fullmatch(text):
        raise BrokenAttributeError
    digits = re.sub(r"[eE].*|[-.]", "", text).lstrip("0")
    return Number(text) if len(digits) <= EXACT_DIGITS else text


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise BrokenAttributeError
    return value


def _map(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BrokenAttributeError
    return plain_image(value)


def _list_of(read: Callable[[Any], Any], *, is_set: bool) -> Callable[[Any], list[Any]]:
    def plain(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise BrokenAttributeError
        values = [read(one) for one in value]
        # a set comes in any order, and the same content must give the same record
        return sorted(values) if is_set else values

    return plain


_READERS: dict[str, Callable[[Any], Any]] = {
    "S": _text,
    "N": _number,
    "BOOL": _boolean,
    "NULL": lambda _: None,
    "B": _text,  # Base64, as it came
    "M": _map,
    "L": _list_of(_plain_value, is_set=False),
    "SS": _list_of(_text, is_set=True),
    "NS": _list_of(_number, is_set=True),
    "BS": _list_of(_text, is_set=True),
}
