"""Spool segments: files that one collector appends frames to, and that become landing files.

Who writes or reads a segment holds its lock, which the kernel releases when they die. So a segment
that nobody holds was left by a collector that was killed, and any other may take it over.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from math import nan
from pathlib import Path
from uuid import uuid4

from loaders.collector.disk import Disk

SUFFIX = ".spool"
# a segment's name begins with when it was opened, in UTC
_MOMENT, _MOMENT_LENGTH = "%Y-%m-%dT%H%M%S.%f", 24


class Segment:
    """A segment that is being written; only its durable part counts."""

    def __init__(self, folder: Path, opened_at: datetime, disk: Disk) -> None:
        self._disk = disk
        self.size = 0
        while True:
            self.path = folder / f"{opened_at:{_MOMENT}}-{uuid4().hex[:12]}{SUFFIX}"
            self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(self.descriptor, fcntl.LOCK_EX)
            # whoever looks for left segments may have been faster than our lock, and removed it
            if os.fstat(self.descriptor).st_nlink:
                break
            os.close(self.descriptor)
        sync_folder(folder)

    def append(self, data: bytes) -> None:
        """Make data durable at the end, all of it or nothing.

        Raises:
            OSError: it is not; what the segment had before stays, and nothing more may be appended:
                after a sync that failed, the kernel may have dropped what a later one would report
                as safe.
        """
        try:
            rest = memoryview(data)
            while rest:
                written = self._disk.write(self.descriptor, rest)
                rest = rest[written:]
            self._disk.sync(self.descriptor)
        except BaseException:
            with suppress(OSError):  # what was not acknowledged may land, but better does not
                self._disk.truncate(self.descriptor, self.size)
                os.lseek(self.descriptor, self.size, os.SEEK_SET)
            raise
        self.size += len(data)


def adopt(path: Path) -> int | None:
    """Lock a segment that nobody holds, and return its descriptor; null where somebody does.

    Raises:
        OSError: it cannot be opened, or locked.
    """
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink:
            return descriptor
    except BlockingIOError:
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def find_segments(folder: Path) -> Iterator[Path]:
    """Find the segments of a spool, oldest first, whoever holds them."""
    yield from sorted(path for path in folder.glob(f"*{SUFFIX}") if not path.is_dir())


def oldest_begun(folder: Path) -> float:
    """Return when the oldest segment was opened, in seconds since 1970; NaN if there is none."""
    for path in find_segments(folder):
        with suppress(ValueError):  # somebody has put a name of their own there
            moment = datetime.strptime(path.name[:_MOMENT_LENGTH], _MOMENT).replace(tzinfo=UTC)
            return moment.timestamp()
    return nan


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
