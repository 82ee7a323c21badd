"""Turn a landing file of any format into lines that `loaders.checks` understands.

Lines of NDJSON are cut out of the file's bytes here, at the speed of memory, so that nothing but a
line feed ends a line. The other formats have a fast way, which is the engine's own reader, and a
careful way in Python for files that the engine refuses as a whole or reads otherwise than the
contract says: it finds the bad records and keeps all the others.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
import sys
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import IO, cast

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from larder.warehouse import literal
from loaders.checks import MAX_LINE_BYTES
from loaders.landing import CHUNK_BYTES, LandingFile

LINE_FORMATS = (".ndjson", ".jsonl")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# What a dead letter keeps of a record that is too large; the landing file has the whole.
KEPT_BYTES = 65_536
# Larger pieces leave the processor's cache and are split at half the speed.
SPLIT_BYTES = 1024 * 1024
BATCH_LINES = 10_000
# A view of at most so many bytes holds its text itself (Arrow's layout of string views).
INLINE_BYTES = 12

LINE_SCHEMA = pa.schema(
    [
        ("line_number", pa.int64()),
        ("line", pa.string_view()),
        ("problem", pa.string()),
        ("is_cut_off", pa.bool_()),
    ]
)
NO_PROBLEM = "null::varchar as problem, false as is_cut_off"

Bytes = npt.NDArray[np.uint8]
Positions = npt.NDArray[np.intp]
Line = tuple[int, str | None, str | None]
"""Line number, text (null: a blank line), and null or `reason|what is wrong`."""


class UnreadableFileError(Exception):
    """Say why a whole file cannot be read: `reason`, `detail`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


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


def line_feed_lines(file: LandingFile) -> Lines:
    """Return the lines of an NDJSON file; errors are those of `decompressed`."""

    def batches() -> Iterator[pa.RecordBatch]:
        with _damage_is_ours(file) as stream:
            yield from _split_stream(stream)

    return Lines(batches())


def careful_lines(path: Path, file_format: str) -> Lines:
    """Return the lines of a plain file that the fast way refused; bad records are marked.

    Raises:
        UnreadableFileError: nothing can be read from the file.
    """
    match file_format:
        case ".json":
            lines = _split_array(path)
        case ".csv":
            lines = _split_csv(path, csv_header(path))
        case _:
            raise UnreadableFileError("corrupt_file", "the Parquet data is damaged or cut off")
    return Lines(_in_batches(lines))


def fast_lines(path: Path, file_format: str) -> str | None:
    """Return the relation in SQL that reads a whole plain file with the engine's own reader.

    Null for a file that the engine does not read as the contract says.

    Raises:
        UnreadableFileError: nothing can be read from the file.
    """
    name = literal(str(path))
    match file_format:
        case ".json":
            return (
                f"(select row_number() over () as line_number, json::varchar as line, {NO_PROBLEM} "
                f"from read_json_objects({name}, format = 'array', hive_partitioning = false, "
                f"compression = 'none', maximum_object_size = {2 * MAX_LINE_BYTES}))"
            )
        case ".csv":
            header = csv_header(path)
            if not _is_plain_csv(path, len(header)):
                return None
            columns = ", ".join(f"{literal(column)}: 'VARCHAR'" for column in header)
            return (
                f"(select row_number() over () + 1 as line_number, to_json(records)::varchar "
                f"as line, {NO_PROBLEM} from read_csv({name}, columns = {{{columns}}}, "
                "header = true, auto_detect = false, delim = ',', quote = '\"', escape = '\"', "
                "nullstr = '', hive_partitioning = false, compression = 'none', "
                f"max_line_size = {MAX_LINE_BYTES}) as records)"
            )
        case ".parquet":
            return (
                "(select file_row_number + 1 as line_number, to_json(records)::varchar as line, "
                f"{NO_PROBLEM} from read_parquet({name}, hive_partitioning = false) as records)"
            )
        case _:
            raise AssertionError(file_format)


def decompressed(file: LandingFile, scratch: Path) -> Path:
    """Return the path of the plain file: `scratch`, where the landed one has to be changed for it.

    Raises:
        UnreadableFileError: the compressed data is damaged or cut off.
    """
    if file.compression is None:
        if not re.search(r"[*?\[\]{}]", str(file.path)):
            return file.path
        scratch.symlink_to(file.path.absolute())  # the engine would take the name for a pattern
        return scratch
    with _damage_is_ours(file) as source, scratch.open("wb") as target:
        while chunk := source.read(CHUNK_BYTES):
            target.write(chunk)
    return scratch


def is_refusal(error: duckdb.Error) -> bool:
    """Tell whether the engine refused the file's content (and not the disk or our own SQL)."""
    refusals = (
        duckdb.InvalidInputException,
        duckdb.ConversionException,
        duckdb.OutOfRangeException,
        duckdb.NotImplementedException,
    )
    if isinstance(error, refusals):
        return True
    text = str(error)
    return isinstance(error, duckdb.IOException) and "No space left" not in text


def _is_plain_csv(path: Path, columns: int) -> bool:
    """Tell whether a CSV file has no quotes, no NUL, and as many commas as its lines must have.

    The engine takes a comma more for the end of the row, and a row of several lines or a blank one
    would make the numbers of rows and lines differ.
    """
    lines = commas = lone_returns = 0
    last = b""
    with path.open("rb") as file:
        while chunk := file.read(SPLIT_BYTES):
            if b'"' in chunk or b"\0" in chunk or b"\n\n" in chunk or b"\n\r" in chunk:
                return False
            lines += chunk.count(b"\n")
            commas += chunk.count(b",")
            lone_returns += chunk.count(b"\r") - (last[-1:] + chunk).count(b"\r\n")
            last = chunk
    if last[-1:] not in (b"\n", b""):
        lines += 1
    return commas == (columns - 1) * lines and columns > 1 and lone_returns == 0


class _damage_is_ours:  # noqa: N801 - reads as a statement
    """Open the file's plain bytes; damage in the compressed data becomes an error of ours."""

    def __init__(self, file: LandingFile) -> None:
        self._file = file

    def __enter__(self) -> IO[bytes]:
        try:
            self._stream = _open(self._file)
        except pa.ArrowException as error:
            self._translate(error)
            raise
        return self._stream

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        with closing(self._stream):
            self._translate(error)

    def _translate(self, error: BaseException | None) -> None:
        damages = (OSError, EOFError, zlib.error, pa.ArrowException)
        if not isinstance(error, damages) or self._file.compression is None:
            return
        if isinstance(error, OSError) and error.errno is not None:
            return  # a full disk is not the file's fault
        raise UnreadableFileError(
            "corrupt_file", f"the {self._file.compression} data is damaged or cut off"
        ) from None


def _open(file: LandingFile) -> IO[bytes]:
    if file.compression == ".gz":
        return cast(IO[bytes], gzip.open(file.path, "rb"))
    if file.compression == ".zst":
        return cast(IO[bytes], pa.CompressedInputStream(pa.OSFile(str(file.path)), "zstd"))
    return file.path.open("rb", buffering=0)


def _split_stream(stream: IO[bytes]) -> Iterator[pa.RecordBatch]:
    """Cut a stream at its line feeds into batches of lines; memory does not grow with a line."""
    number = 1
    rest = stream.read(len(BYTE_ORDER_MARK))
    if rest == BYTE_ORDER_MARK:
        rest = b""
    while True:
        # The room at the end lets the first bytes of any line be taken without asking how many.
        buffer = np.empty(len(rest) + SPLIT_BYTES + INLINE_BYTES, np.uint8)
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
            long_line = _too_long(number, rest)
            rest = _skip_line(stream)
            yield _to_batch([long_line])
            number += 1
    if rest:
        yield _to_batch([_line_of(number, rest)], is_cut_off=True)


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
        return _to_batch(
            _line_of(number, buffer[start:stop].tobytes())
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


def _in_batches(lines: Iterator[Line]) -> Iterator[pa.RecordBatch]:
    while batch := list(islice(lines, BATCH_LINES)):
        yield _to_batch(batch)


def _to_batch(lines: Iterable[Line], *, is_cut_off: bool = False) -> pa.RecordBatch:
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


def _line_of(number: int, data: bytes) -> Line:
    """Return the line of one record's bytes, with its problem if they are no text."""
    data = data.strip(b" \t\r\n")
    if len(data) > MAX_LINE_BYTES:
        return _too_long(number, data)
    try:
        return number, data.decode() or None, None
    except UnicodeDecodeError as error:
        problem = f"invalid_utf8|not UTF-8 at byte {error.start + 1} of the record"
        return number, data.decode(errors="backslashreplace"), problem


def _too_long(number: int, start: bytes) -> Line:
    text = start[:KEPT_BYTES].decode(errors="backslashreplace")
    return number, text, "line_too_long|the record has more than 1 MiB"


def csv_header(path: Path) -> list[str]:
    """Return the names of the columns of a CSV file.

    Raises:
        UnreadableFileError: the first line cannot name columns.
    """
    with path.open("rb") as file:
        skip_byte_order_mark(file)
        _, header = next(csv_rows(file), (0, b""))
    try:
        names = [name.strip() for name in header] if isinstance(header, list) else []
        "".join(names).encode()
    except UnicodeEncodeError:
        names = []
    # The engine does not tell names apart by their case.
    if not names or not all(names) or len({name.lower() for name in names}) != len(names):
        raise UnreadableFileError(
            "bad_header", "the first line must name every column once, in UTF-8"
        )
    return names


def skip_byte_order_mark(file: IO[bytes]) -> None:
    if file.read(len(BYTE_ORDER_MARK)) != BYTE_ORDER_MARK:
        file.seek(0)


def _split_csv(path: Path, names: list[str]) -> Iterator[Line]:
    with path.open("rb") as file:
        skip_byte_order_mark(file)
        for number, row in islice(csv_rows(file), 1, None):
            yield _csv_line(number, names, row)


def _csv_line(number: int, names: list[str], row: list[str] | bytes) -> Line:
    if isinstance(row, bytes):
        _, text, problem = _line_of(number, row)
        return number, text, problem or "broken_csv|a quoted field does not end properly"
    if len(row) <= 1 and not "".join(row).strip():
        return number, None, None
    original = json.dumps(row, ensure_ascii=False).encode(errors="surrogateescape")
    number, text, problem = cast(tuple[int, str, str | None], _line_of(number, original))
    if problem:
        return number, text, problem
    if "\\u0000" in text and any("\0" in value for value in row):
        return number, text, "nul_byte|the record holds a NUL byte"
    if len(row) != len(names):
        detail = f"the row has {len(row)} fields, the header {len(names)}"
        return number, text, f"wrong_field_count|{detail}"
    record = {name: value or None for name, value in zip(names, row, strict=True)}
    return number, json.dumps(record, ensure_ascii=False), None


def csv_rows(file: IO[bytes]) -> Iterator[tuple[int, list[str] | bytes]]:
    """Read the rows with the number of their first line; of a broken one give the bytes.

    A lone quote must not swallow the rows after it: where no proper row comes out within the limit
    of a line, only the first line is broken and reading goes on with the second.
    """
    csv.field_size_limit(sys.maxsize)
    waiting: deque[bytes] = deque()
    number = 1
    while True:
        taken: list[bytes] = []
        try:
            row = next(csv.reader(_text_of(file, waiting, taken), strict=True), None)
        except csv.Error:
            waiting.extendleft(reversed(taken[1:]))
            yield number, taken[0]
            number += 1
            continue
        if row is None:
            return
        yield number, row
        number += len(taken)


def _text_of(file: IO[bytes], waiting: deque[bytes], taken: list[bytes]) -> Iterator[str]:
    """Give the text of one line after the other, up to the limit of a record."""
    size = 0
    while size <= MAX_LINE_BYTES:
        line = waiting.popleft() if waiting else _read_line(file)
        if not line:
            return
        taken.append(line)
        size += len(line)
        yield line.decode(errors="surrogateescape")


def _read_line(file: IO[bytes]) -> bytes:
    """Read a line; of one that is too long only as much as shows that it is."""
    line = file.readline(MAX_LINE_BYTES + 3)
    if len(line) > MAX_LINE_BYTES + 2 and not line.endswith(b"\n"):
        while (rest := file.readline(CHUNK_BYTES)) and not rest.endswith(b"\n"):
            pass
    return line


# The structure of JSON; strings are swallowed whole. No string holds a line end, so a quote that is
# not closed on its line stands alone, and what follows it can still be told apart.
_STRUCTURE = re.compile(rb'"(?:[^"\\\n]++|\\[^\n])*+"|[\[\]{},"]')
_BETWEEN_OBJECTS = re.compile(rb"(?<=\})\s*,\s*(?=\{)")
_SWALLOWED_GAP = re.compile(rb'"[^"]*\}\s*,\s*\{[^"]*"')
# What has not ended by then is a broken element: reading goes on where the next object starts.
LONGEST_ELEMENT = 4 * MAX_LINE_BYTES


def _split_array(path: Path) -> Iterator[Line]:
    """Split a JSON array into its elements by structure alone; what each is worth comes later.

    Objects that follow each other without being in an array are split, too.
    """
    with path.open("rb") as file:
        skip_byte_order_mark(file)
        for number, element in enumerate(_mended_elements(file), start=1):
            yield _line_of(number, element)


def _mended_elements(file: IO[bytes]) -> Iterator[bytes]:
    """Give the elements, and those that a string which is not closed has swallowed."""
    for element in filter(bytes.strip, elements(file)):
        if _SWALLOWED_GAP.search(element) and not _is_json(element):
            yield from _BETWEEN_OBJECTS.split(element)
        else:
            yield element


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def elements(file: IO[bytes]) -> Iterator[bytes]:
    buffer, start, position, depth = b"", 0, 0, 0
    is_in_array = is_end = False
    while True:
        for match in _STRUCTURE.finditer(buffer, position):
            mark = match.group()
            if mark == b'"' and not is_end and buffer.find(b"\n", match.end()) < 0:
                break  # the string goes on in the next chunk
            position = match.end()
            if mark == b"[" and depth == 0 and not is_in_array:
                is_in_array, start = True, position
            elif mark in (b"[", b"{"):
                depth += 1
            elif mark in (b"]", b"}") and depth > 0:
                depth -= 1
                if depth == 0 and not is_in_array:
                    yield buffer[start:position]
                    start = position
            elif depth == 0 and mark in (b"]", b","):
                yield buffer[start : match.start()]
                is_in_array, start = is_in_array and mark == b",", position
        if not is_end and len(buffer) - start < LONGEST_ELEMENT:
            chunk = file.read(SPLIT_BYTES)
            is_end = not chunk
            buffer, start, position = buffer[start:] + chunk, 0, position - start
            continue
        gap = _BETWEEN_OBJECTS.search(buffer, start) if depth else None
        yield buffer[start : gap.start() if gap else len(buffer)]
        if is_end and not gap:
            return
        buffer, start, position, depth = buffer[gap.end() if gap else len(buffer) :], 0, 0, 0
