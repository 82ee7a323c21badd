"""Split JSON arrays, also broken ones, into elements; what each is worth comes later."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from loaders.checks import MAX_LINE_BYTES
from loaders.readers.lines import SPLIT_BYTES, Line, line_of
from loaders.readers.streams import skip_byte_order_mark

# The structure of JSON; strings are swallowed whole. No string holds a line end, so a quote that is
# not closed on its line stands alone, and what follows it can still be told apart.
_STRUCTURE = re.compile(rb'"(?:[^"\\\n]++|\\[^\n])*+"|[\[\]{},"]')
_BETWEEN_OBJECTS = re.compile(rb"(?<=\})\s*,\s*(?=\{)")
_SWALLOWED_GAP = re.compile(rb'"[^"]*\}\s*,\s*\{[^"]*"')
# What has not ended by then is a broken element: reading goes on where the next object starts.
LONGEST_ELEMENT = 4 * MAX_LINE_BYTES


def split_array(path: Path) -> Iterator[Line]:
    """Return the elements of a JSON array as lines, numbered from 1.

    Objects that follow each other without being in an array are split, too.
    """
    with path.open("rb") as file:
        skip_byte_order_mark(file)
        for number, element in enumerate(_mended_elements(file), start=1):
            yield line_of(number, element)


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
    """Give the bytes of each element by structure alone; memory is bounded by one element."""
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
