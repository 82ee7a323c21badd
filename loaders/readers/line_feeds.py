"""Cut lines of NDJSON out of the file's bytes, at the speed of memory.

Nothing but a line feed ends a line.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from loaders.landing import LandingFile
from loaders.limits import MAX_LINE_BYTES
from loaders.readers.lines import LINE_SCHEMA, SPLIT_BYTES, Lines, line_of, to_batch, too_long
from loaders.readers.streams import BYTE_ORDER_MARK, plain_bytes

# A view of at most so many bytes holds its text itself (Arrow's layout of string views).
INLINE_BYTES = 12

Bytes = npt.NDArray[np.uint8]
Positions = npt.NDArray[np.intp]


def line_feed_lines(file: LandingFile) -> Lines:
    """Return the lines of an NDJSON file; errors are those of `plain_bytes`."""

    def batches() -> Iterator[pa.RecordBatch]:
        with plain_bytes(file) as stream:
            yield from split_stream(stream)

    return Lines(batches())


def split_stream(stream: IO[bytes]) -> Iterator[pa.RecordBatch]:
    """Cut a stream at its line feeds into batches of lines; memory does not grow with a line."""
    number = 1
    rest = stream.read(len(BYTE_ORDER_MARK))
    if rest == BYTE_ORDER_MARK:
        rest = b""
    while True:
        # The room at the end lets the first bytes of any line be taken without asking how many.
        # Arrow's memory is used again, fresh memory from the system costs more than the reading.
        room = pa.allocate_buffer(len(rest) + SPLIT_BYTES + INLINE_BYTES)
        buffer = np.frombuffer(room, np.uint8)
        buffer[: len(rest)] = np.frombuffer(rest, np.uint8)
        space = buffer[len(rest) : len(rest) + SPLIT_BYTES].data
        got = stream.readinto(space)  # type: ignore[attr-defined]
        size = len(rest) + got
        ends = np.flatnonzero(buffer[:size] == 10)
        if ends.size:
            yield _batch_of_lines(buffer, ends, number)
            number += len(ends)
            rest = buffer[ends[-1] + 1 : size].tobytes()
        else:
            rest = buffer[:size].tobytes()
        if not got:
            break
        # One byte may still be the carriage return of a line of just the right length.
        if len(rest) > MAX_LINE_BYTES + 1:
            long_line = too_long(number, rest)
            rest = _skip_line(stream)
            yield to_batch([long_line])
            number += 1
    if rest:
        yield to_batch([line_of(number, rest)], is_cut_off=True)


def _skip_line(stream: IO[bytes]) -> bytes:
    """Read to the end of a line and return what was read after it."""
    while chunk := stream.read(SPLIT_BYTES):
        _, end, rest = chunk.partition(b"\n")
        if end:
            return rest
    return b""


def _batch_of_lines(buffer: Bytes, ends: Positions, first_number: int) -> pa.RecordBatch:
    """Make the batch of the lines that end before each of `ends`, without copying their text."""
    starts = np.empty_like(ends)
    starts[0], starts[1:] = 0, ends[:-1] + 1
    stops = ends - ((buffer[ends - 1] == 13) & (ends > starts))  # CR LF ends a line, too
    for index in np.flatnonzero((stops > starts) & (buffer[starts] <= 32)):
        line = buffer[starts[index] : stops[index]].tobytes()
        starts[index] += len(line) - len(line.lstrip(b" \t\r"))
    lengths = stops - starts
    numbers = np.arange(first_number, first_number + len(ends))
    lines = _string_views(buffer, starts, lengths) if lengths.max() <= MAX_LINE_BYTES else None
    try:
        if lines is not None:
            lines.validate(full=True)
    except pa.ArrowInvalid:
        lines = None
    if lines is None:
        return to_batch(
            line_of(number, buffer[start:stop].tobytes())
            for number, start, stop in zip(numbers.tolist(), starts, stops, strict=True)
        )
    count = len(lines)
    columns = [
        pa.array(numbers, pa.int64()),
        lines,
        pa.nulls(count, pa.string()),
        pa.repeat(False, count),
    ]
    return pa.record_batch(columns, schema=LINE_SCHEMA)


def _string_views(buffer: Bytes, starts: Positions, lengths: Positions) -> pa.Array:
    """Lay out string views: length, first four bytes, number of the buffer, offset in it."""
    count = len(starts)
    views = np.zeros((count, 4), np.int32)
    first_four = np.ndarray((len(buffer) - 3,), "<i4", buffer, strides=(1,))
    views[:, 0], views[:, 1], views[:, 3] = lengths, first_four[starts], starts
    short = np.flatnonzero(lengths <= INLINE_BYTES)
    if short.size:
        columns = np.arange(INLINE_BYTES)
        texts = buffer[starts[short, None] + columns]
        texts[columns >= lengths[short, None]] = 0
        views.view(np.uint8).reshape(count, 16)[short, 4:] = texts
    is_there = lengths > 0
    validity = None if is_there.all() else pa.py_buffer(np.packbits(is_there, bitorder="little"))
    buffers = [validity, pa.py_buffer(views), pa.py_buffer(buffer)]
    return pa.Array.from_buffers(pa.string_view(), count, buffers)
