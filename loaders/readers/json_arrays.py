"""Split JSON arrays, also broken ones, into elements; what each is worth comes later."""

from __future__ import annotations

import json
import re
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from loaders.limits import MAX_LINE_BYTES
from loaders.readers.lines import SPLIT_BYTES, Line, line_of
from loaders.readers.streams import skip_byte_order_mark

# The structure of JSON; strings are swallowed whole. No string holds a line end, so a quote that is
# not closed on its line stands alone, and what follows it can still be told apart.
_STRUCTURE = re.compile(rb'"(?:[^"\\\n]++|\\[^\n])*+"|[\[\]{},"]')
_OUTSIDE_STRINGS = re.compile(rb"[\[\]{},]")
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
        last_quote = element.rfind(b'"')  # without it the search would start again and again
        if _SWALLOWED_GAP.search(element, 0, last_quote + 1) and not _is_json(element):
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
    """Give the bytes of each element by structure alone, in time that grows with the file's size.

    What does not end is cut off where the next object starts, and reading goes on there.
    """
    buffer, start, position, offset = b"", 0, 0, 0
    is_in_array = is_end = False
    opened = array("q")  # where the brackets that are open begin
    endless: Sequence[int] = ()  # the brackets that are known not to be closed
    while True:
        is_endless = False
        for match in _marks(buffer, position):
            mark = match.group()
            if mark == b'"' and not is_end and buffer.find(b"\n", match.end()) < 0:
                break  # the string goes on in the next chunk
            position = match.end()
            if mark == b"[" and not opened and not is_in_array:
                is_in_array, start = True, position
            elif mark in (b"[", b"{"):
                opened.append(offset + match.start())
                is_endless = len(opened) == 1 and _holds(endless, opened[0])
                if is_endless:
                    break
            elif mark in (b"]", b"}") and opened:
                opened.pop()
                if not opened and not is_in_array:
                    yield buffer[start:position]
                    start = position
            elif not opened and mark in (b"]", b","):
                yield buffer[start : match.start()]
                is_in_array, start = is_in_array and mark == b",", position
        if not is_endless:
            if not is_end and len(buffer) - start < LONGEST_ELEMENT:
                chunk = file.read(SPLIT_BYTES)
                is_end = not chunk
                buffer, position, offset = buffer[start:] + chunk, position - start, offset + start
                start = 0
                continue
            # Near the end of the buffer is what may be closed by the next chunk.
            certain = offset + len(buffer) - (0 if is_end else MAX_LINE_BYTES)
            endless = opened[: bisect_left(opened, certain)]
        gap = _BETWEEN_OBJECTS.search(buffer, start) if opened else None
        yield buffer[start : gap.start() if gap else len(buffer)]
        if is_end and not gap:
            return
        start = position = gap.end() if gap else len(buffer)
        opened = array("q")


def _marks(buffer: bytes, position: int) -> Iterator[re.Match[bytes]]:
    """Find the structure; behind a quote that stands alone no other on its line closes anything."""
    while True:
        for match in _STRUCTURE.finditer(buffer, position):
            yield match
            if match.group() == b'"':
                break
        else:
            return
        position = buffer.find(b"\n", match.end())
        position = len(buffer) if position < 0 else position
        yield from _OUTSIDE_STRINGS.finditer(buffer, match.end(), position)


def _holds(ordered: Sequence[int], number: int) -> bool:
    at = bisect_left(ordered, number)
    return at < len(ordered) and ordered[at] == number
