"""Read CSV: row by row, as the contract says, whatever is wrong with some of them."""

from __future__ import annotations

import csv
import json
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, cast

from loaders.landing import CHUNK_BYTES
from loaders.limits import MAX_LINE_BYTES
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
    of a line, only the first line is broken and reading goes on with the second. What is known of
    the lines that follow is kept, so that the time grows with the file's size alone.
    """
    csv.field_size_limit(sys.maxsize)
    number = 1
    following: deque[bytes] = deque()
    # Read as the inside of a quoted field, how many of the lines that follow leave it open, how
    # long they are together, and whether the line after them ends it as no row may.
    inside, inside_bytes, is_barred = 0, 0, False
    while line := following.popleft() if following else _read_line(file):
        if inside:
            inside, inside_bytes = inside - 1, inside_bytes - len(line)
        else:
            is_barred = False
        row, is_open = _row_of([line])
        taken = 1
        size = len(line) + inside_bytes
        while is_open and not is_barred and size <= MAX_LINE_BYTES:
            if inside == len(following):
                following.append(_read_line(file))
            end, is_still_open = _row_of([b'"', following[inside]])
            if end is not None:
                row, _ = _row_of([line, *islice(following, inside + 1)])
            if row is not None:
                taken += inside + 1
                for _ in range(inside + 1):
                    following.popleft()
                inside, inside_bytes = 0, 0
                break
            if is_still_open and following[inside]:
                size += len(following[inside])
                inside, inside_bytes = inside + 1, inside_bytes + len(following[inside])
            else:
                is_barred = True
        yield number, line if row is None else row
        number += taken


def _row_of(lines: Iterable[bytes]) -> tuple[list[str] | None, bool]:
    """Return the row of these lines, or null and whether it only lacks its end."""
    texts = (line.decode(errors="surrogateescape") for line in lines)
    try:
        return next(csv.reader(texts, strict=True)), False
    except csv.Error as error:
        return None, str(error) == "unexpected end of data"


def _read_line(file: IO[bytes]) -> bytes:
    """Read a line; of one that is too long only as much as shows that it is."""
    line = file.readline(MAX_LINE_BYTES + 3)
    if len(line) > MAX_LINE_BYTES + 2 and not line.endswith(b"\n"):
        while (rest := file.readline(CHUNK_BYTES)) and not rest.endswith(b"\n"):
            pass
    return line
