"""What a record may be at most, wherever it comes in."""

from __future__ import annotations

import re

MAX_LINE_BYTES = 1_048_576
MAX_NESTING = 500

# A string counts for nothing, also one that does not end.
_BRACKETS = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)


def nesting_depth(text: str) -> int:
    """Return the depth of nesting of a text that may be JSON; strings are not looked into."""
    depth = deepest = 0
    for match in _BRACKETS.finditer(text):
        mark = match.group()
        if mark in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif mark in "]}":
            depth -= 1
    return deepest
