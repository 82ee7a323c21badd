"""Turn a landing file of any format into lines that `loaders.checks` understands.

Lines of NDJSON are cut out of the file's bytes (`line_feed_lines`). The other formats have a fast
way, which is the engine's own reader (`fast_lines`), and a careful way in Python for files that the
engine refuses as a whole or reads otherwise than the contract says (`careful_lines`): it finds the
bad records and keeps all the others.
"""

from __future__ import annotations

from loaders.readers.dynamodb import dynamodb_lines, is_dynamodb
from loaders.readers.formats import LINE_FORMATS, careful_lines, fast_lines, is_refusal
from loaders.readers.line_feeds import line_feed_lines
from loaders.readers.lines import Lines
from loaders.readers.several import lines_told_apart
from loaders.readers.streams import UnreadableFileError, decompressed

__all__ = [
    "LINE_FORMATS",
    "Lines",
    "UnreadableFileError",
    "careful_lines",
    "decompressed",
    "dynamodb_lines",
    "fast_lines",
    "is_dynamodb",
    "is_refusal",
    "line_feed_lines",
    "lines_told_apart",
]
