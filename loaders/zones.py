"""The seam between a load and where files arrive: a folder, or a bucket of S3.

A zone finds files and brings the bytes of one of them to a local path; all that is done with them
there (checks, tokens, segments, ledger, dead letters) is the same for both.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from larder.settings import Settings
from loaders.asides import commit
from loaders.landing import LandingFile, find_files, look_up

FILES_AT_ONCE = 2


@dataclass(frozen=True)
class Unread:
    """Say which file could not be read this time, and why; the next load tries again.

    `is_failure` is false where nothing is wrong: the file was taken away or replaced meanwhile.
    """

    relative: str
    why: str
    is_failure: bool = True


class NotReadError(Exception):
    """One file could not be read this time; the others of the load can."""

    def __init__(self, unread: Unread) -> None:
        super().__init__(unread.relative, unread.why)
        self.unread = unread


class Zone(Protocol):
    """Find the files of a landing zone and bring each to a local path."""

    name: str
    files_at_once: int

    def find(self) -> Iterator[LandingFile]:
        """Find the files that are there, in the order of their names.

        Raises:
            LandingError: the landing zone cannot be read.
        """

    def look_up(self, relative: str) -> LandingFile | None:
        """Return the file of that name, or null if there is none."""

    def brought(self, file: LandingFile) -> AbstractContextManager[LandingFile]:
        """Give the file with its bytes at its path, for as long as they are needed.

        Raises:
            NotReadError: this file could not be read.
            LandingError: no file can be read.
        """

    def put(self, relative: str, content: Path) -> None:
        """Write a new file, durable, whole or not at all."""

    def require_rewritable(self) -> None:
        """Make sure that a person can be erased from the files, before anything is changed.

        Raises:
            LandingError: a right is missing, or older versions must be kept.
        """

    def replace(self, file: LandingFile, content: Path) -> LandingFile:
        """Put other bytes in the place of a file's, and return it as it is now.

        Raises:
            LandingError: it cannot be written, or has changed meanwhile.
        """

    def kept_versions(self) -> Iterator[Version]:
        """Find all that the service keeps below the landing zone, older versions, too."""


@dataclass(frozen=True)
class Version:
    """Hold one version of an object: the current one, or one that was replaced or deleted."""

    file: LandingFile
    is_current: bool
    brought: Callable[[], AbstractContextManager[LandingFile]]
    delete: Callable[[], None]


class FolderZone:
    """A landing zone that is a folder: its files are where they are needed."""

    files_at_once = FILES_AT_ONCE

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = str(folder)

    def find(self) -> Iterator[LandingFile]:
        """Find the files; see `Zone`."""
        return find_files(self.folder)

    def look_up(self, relative: str) -> LandingFile | None:
        """Return the file of that name, or null if there is none."""
        return look_up(self.folder, relative)

    def brought(self, file: LandingFile) -> AbstractContextManager[LandingFile]:
        """Give the file itself: nothing is copied."""
        return nullcontext(file)

    def put(self, relative: str, content: Path) -> None:
        """Write a new file; it is copied beside its place, which may be on another disk."""
        final = self.folder / relative
        final.parent.mkdir(parents=True, exist_ok=True)
        name = sha256(final.name.encode()).hexdigest()
        beside = final.with_name(f".{name}.tmp")
        shutil.copyfile(content, beside)
        commit(beside, final)

    def require_rewritable(self) -> None:
        """A folder needs no asking: what cannot be written there stops an erasure that goes on."""

    def replace(self, file: LandingFile, content: Path) -> LandingFile:
        """Put other bytes in the place of a file's; see `Zone`. Its time of change stays."""
        shutil.copymode(file.path, content)
        os.utime(content, ns=(file.modified_ns, file.modified_ns))
        name = sha256(os.fsencode(file.path.name)).hexdigest()
        # beside the file first: the landing zone may be on another disk
        beside = file.path.with_name(f".{name}.tmp")
        shutil.copy2(content, beside)
        commit(beside, file.path)
        return replace(file, size=content.stat().st_size)

    def kept_versions(self) -> Iterator[Version]:
        """A folder keeps no versions: whoever searches it reads its files."""
        return iter(())


@contextmanager
def open_zone(settings: Settings) -> Iterator[Zone]:
    """Open the landing zone of the settings.

    Raises:
        LandingError: the AWS SDK has no credentials or no region to reach it with.
    """
    if settings.landing_bucket is None:
        yield FolderZone(settings.landing_folder)
        return
    # the SDK takes half a second to import, which only those who use it shall wait
    from loaders.s3.zone import open_bucket

    with open_bucket(settings) as zone:
        yield zone
