"""The few calls to the disk that durability rests on, in one place so that tests can break each."""

from __future__ import annotations

import os
from pathlib import Path


class Disk:
    """The real disk."""

    def write(self, descriptor: int, data: bytes | memoryview) -> int:
        """Write what fits; returns how many bytes that were, which may be fewer."""
        return os.write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        """Make what was written durable."""
        os.fdatasync(descriptor)

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut a file off."""
        os.ftruncate(descriptor, size)

    def free_bytes(self, folder: Path) -> int:
        """Return how much can still be written there by who runs this."""
        status = os.statvfs(folder)
        return status.f_bavail * status.f_frsize
