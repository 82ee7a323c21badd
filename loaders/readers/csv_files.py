"""Read CSV: row by row, as the contract says, whatever is wrong with some of them."""

from __future__ import annotations

import csv
import json
import sys
from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO, cast

from loaders.checks import MAX_LINE_BYTES
from loaders.landing import CHUNK_BYTES
from loaders.readers.lines import SPLIT_BYTES, Line, line_of
from loaders.readers.streams import UnreadableFileError, skip_byte_order_mark


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


def is_plain_csv(path: Path, columns: int) -> bool:
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


def split_csv(path: Path, names: list[str]) -> Iterator[Line]:
    with path.open("rb") as file:
        skip_byte_order_mark(file)
        for number, row in islice(csv_rows(file), 1, None):
            yield _csv_line(number, names, row)


def _csv_line(number: int, names: list[str], row: list[str] | bytes) -> Line:
    if isinstance(row, bytes):
        _, text, problem = line_of(number, row)
        return number, text, problem or "broken_csv|a quoted field does not end properly"
    if len(row) <= 1 and not "".join(row).strip():
        return number, None, None
    original = json.dumps(row, ensure_ascii=False).encode(errors="surrogateescape")
    number, text, problem = cast(tuple[int, str, str | None], line_of(number, original))
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
