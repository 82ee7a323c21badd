"""The lines of a landing file, in batches, with what is wrong with each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import pyarrow as pa

from loaders.limits import MAX_LINE_BYTES

# What a dead letter keeps of a record that is too large; the landing file has the whole.
KEPT_BYTES = 65_536
# Smaller pieces fill the engine's vectors badly, larger ones leave the processor's cache.
SPLIT_BYTES = 2 * 1024 * 1024
BATCH_LINES = 10_000

LINE_SCHEMA = pa.schema(
    [
        ("line_number", pa.int64()),
        ("line", pa.string_view()),
        ("problem", pa.string()),
        ("is_cut_off", pa.bool_()),
    ]
)

Line = tuple[int, str | None, str | None]
"""Line number, text (null: a blank line), and null or `reason|what is wrong`."""


class Lines:
    """Hold a stream of lines for one query, and the error that ended it early, if any.

    An error inside the stream reaches the caller of the query only as some error of the engine.
    """

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self.error: Exception | None = None
        self.reader = pa.RecordBatchReader.from_batches(LINE_SCHEMA, self._watch(batches))

    def _watch(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        try:
            yield from batches
        except Exception as error:
            self.error = error
            raise


def in_batches(lines: Iterator[Line]) -> Iterator[pa.RecordBatch]:
    while batch := list(islice(lines, BATCH_LINES)):
        yield to_batch(batch)


def to_batch(lines: Iterable[Line], *, is_cut_off: bool = False) -> pa.RecordBatch:
    numbers, texts, problems = zip(*lines, strict=True)
    return pa.record_batch(
        [
            pa.array(numbers, pa.int64()),
            pa.array(texts, pa.string_view()),
            pa.array(problems, pa.string()),
            pa.repeat(is_cut_off, len(numbers)),
        ],
        schema=LINE_SCHEMA,
    )


def line_of(number: int, data: bytes) -> Line:
    """Return the line of one record's bytes, with its problem if they are no text."""
    data = data.strip(b" \t\r\n")
    if len(data) > MAX_LINE_BYTES:
        return too_long(number, data)
    try:
        return number, data.decode() or None, None
    except UnicodeDecodeError as error:
        problem = f"invalid_utf8|not UTF-8 at byte {error.start + 1} of the record"
        return number, data.decode(errors="backslashreplace"), problem


def too_long(number: int, start: bytes) -> Line:
    text = start[:KEPT_BYTES].decode(errors="backslashreplace")
    return number, text, "line_too_long|the record has more than 1 MiB"
