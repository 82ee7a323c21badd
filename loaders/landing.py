"""The landing zone: which files are there, and what each of them is."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from larder.errors import LandingError
from loaders.entities import Entity, read_entities

FORMATS = (".ndjson", ".jsonl", ".json", ".csv", ".parquet")
COMPRESSIONS = (".gz", ".zst")
CHUNK_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class LandingFile:
    """Describe one file of the landing zone; it is immutable once it has its name."""

    path: Path
    relative: str
    entity: Entity | None
    file_format: str | None
    compression: str | None
    size: int
    modified_ns: int


def find_files(landing: Path) -> Iterator[LandingFile]:
    """Find the files that are there, in the order of their names.

    Names that start with `.` or `_` or end in `.tmp` are not there yet.

    Raises:
        LandingError: the landing zone cannot be read.
    """
    if not landing.is_dir():
        raise LandingError(
            f"The landing zone {landing} is not a folder. Make it and put files into "
            "<source>/<entity>/, or point LARDER_LANDING at the one you have; `larder sample` "
            "writes the sample network."
        )
    try:
        yield from _find(landing, landing, frozenset())
    except PermissionError as error:
        raise LandingError(
            f"{error.filename} in the landing zone may not be read. Give the user that runs "
            "larder the right to read it."
        ) from error


def _find(landing: Path, folder: Path, above: frozenset[tuple[int, int]]) -> Iterator[LandingFile]:
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        return  # a link back to a folder that holds this one
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name.startswith((".", "_")) or entry.name.endswith(".tmp"):
            continue
        try:
            is_folder, is_file = entry.is_dir(), entry.is_file()
        except OSError as error:
            if error.errno == errno.ELOOP:
                continue  # a link to itself
            raise
        if is_folder:
            yield from _find(landing, Path(entry.path), above | {here})
            continue
        if not is_file:
            continue  # a pipe would keep its reader waiting for ever
        # A file that is renamed away between the listing and the look at it is not there.
        with suppress(FileNotFoundError):
            yield _describe(landing, Path(entry.path))


def _describe(landing: Path, path: Path) -> LandingFile:
    relative = path.relative_to(landing)
    name = path.name
    compression = next((end for end in COMPRESSIONS if name.endswith(end)), None)
    plain = name.removesuffix(compression or "")
    file_format = next((end for end in FORMATS if plain.endswith(end)), None)
    if file_format == ".parquet" and compression:
        file_format = None
    entity = "/".join(relative.parts[:2]) if len(relative.parts) > 2 else ""
    status = path.stat()
    return LandingFile(
        path=path,
        # a name need not be UTF-8
        relative=os.fsencode(relative.as_posix()).decode(errors="backslashreplace"),
        entity=read_entities().get(entity),
        file_format=file_format,
        compression=compression,
        size=status.st_size,
        modified_ns=status.st_mtime_ns,
    )


def is_still_written(file: LandingFile) -> bool:
    """Tell whether some program has the file open for writing or has changed it since `find_files`.

    The first is known where the kernel grants read leases (local files on Linux); the second
    everywhere.
    """
    try:
        status = file.path.stat()
        if (status.st_size, status.st_mtime_ns) != (file.size, file.modified_ns):
            return True
        descriptor = os.open(file.path, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except (OSError, AttributeError):
        return False  # no leases here: only the change can be seen
    finally:
        os.close(descriptor)
    return False


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
