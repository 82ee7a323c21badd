"""The format of a spool: frames, each with lines of one entity that came together.

A header with a checksum, then the lines; readable by eye, and told apart from a write that was cut
off.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from zlib import crc32

MARK = b"=frame "
# checksum of all that follows it, microseconds since 1970, entity, bytes of the lines
_HEADER = re.compile(MARK + rb"([0-9a-f]{8}) ((\d+) ([\w.-]+/[\w.-]+) (\d+)\n)")


@dataclass(frozen=True, slots=True)
class Frame:
    """Hold lines of one entity, each with its end, and when they came.

    That moment goes no further than the spool: it is for whoever looks into a damaged one, and has
    to know which events are missing.
    """

    entity: str
    received_us: int
    lines: bytes


@dataclass
class Frames:
    """Hold the whole frames of a file, and how many of its bytes belong to none.

    `is_damaged` tells that frames follow such bytes: they are no write that was cut off, which can
    only be the last one.
    """

    whole: list[Frame] = field(default_factory=list)
    lost_bytes: int = 0
    is_damaged: bool = False


def encode(entity: str, received_us: int, lines: bytes) -> bytes:
    """Give the bytes of a frame."""
    rest = b"%d %b %d\n" % (received_us, entity.encode(), len(lines))
    return b"%b%08x %b%b" % (MARK, crc32(lines, crc32(rest)), rest, lines)


def decode(data: bytes) -> Frames:
    """Read the frames of a file."""
    found = Frames()
    at = 0
    while at < len(data):
        header = _HEADER.match(data, at)
        if header:
            end = header.end() + int(header[5])
            lines = data[header.end() : end]
            if end <= len(data) and crc32(lines, crc32(header[2])) == int(header[1], 16):
                found.whole.append(Frame(header[4].decode(), int(header[3]), lines))
                found.is_damaged = found.lost_bytes > 0
                at = end
                continue
        following = data.find(MARK, at + 1)
        following = len(data) if following < 0 else following
        found.lost_bytes += following - at
        at = following
    return found
