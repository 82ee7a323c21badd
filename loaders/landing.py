"""The landing zone: which files are there, and what each of them is."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from larder.errors import LandingError
from loaders.entities import Entity, read_entities

FORMATS = (".ndjson", ".jsonl", ".json", ".csv", ".parquet")
COMPRESSIONS = (".gz", ".zst")
CHUNK_BYTES = 4 * 1024 * 1024
# DynamoDB exports to S3 into a folder of this name: data in `data`, and reports of its own.
DYNAMODB_FOLDER, DYNAMODB_DATA_FOLDER = "AWSDynamoDB", "data"


@dataclass(frozen=True)
class LandingFile:
    """Describe one file of the landing zone; it is immutable once it has its name.

    What lies in S3 has an `etag`, and its `path` is nowhere until `Zone.brought` gives it one.
    """

    path: Path
    relative: str
    entity: Entity | None
    file_format: str | None
    compression: str | None
    size: int
    modified_ns: int
    etag: str = ""


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
        yield from _find(landing, (), frozenset())
    except PermissionError as error:
        raise LandingError(
            f"{error.filename} in the landing zone may not be read. Give the user that runs "
            "larder the right to read it."
        ) from error


def _find(
    folder: Path, parts: tuple[str, ...], above: frozenset[tuple[int, int]]
) -> Iterator[LandingFile]:
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        return  # a link back to a folder that holds this one
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if not _is_there(entry.name):
            continue
        try:
            is_folder, is_file = entry.is_dir(), entry.is_file()
        except OSError as error:
            if error.errno == errno.ELOOP:
                continue  # a link to itself
            raise
        inside = (*parts, entry.name)
        if is_folder:
            yield from _find(Path(entry.path), inside, above | {here})
            continue
        # a pipe would keep its reader waiting for ever
        if not is_file or _is_beside_data(inside):
            continue
        # A file that is renamed away between the listing and the look at it is not there.
        with suppress(FileNotFoundError):
            yield _describe(Path(entry.path), inside, entry.stat())


def _is_there(name: str) -> bool:
    return not name.startswith((".", "_")) and not name.endswith(".tmp")


def _is_beside_data(parts: Sequence[str]) -> bool:
    return DYNAMODB_FOLDER in parts[:-1] and parts[-2] != DYNAMODB_DATA_FOLDER


def is_taken(parts: Sequence[str]) -> bool:
    """Tell whether a file whose name below the landing zone has these parts is to be loaded.

    What is not there yet is not, nor what DynamoDB says about an export beside its data.
    """
    return all(map(_is_there, parts)) and not _is_beside_data(parts)


def _describe(path: Path, parts: Sequence[str], status: os.stat_result) -> LandingFile:
    # a name need not be UTF-8
    name = os.fsencode("/".join(parts)).decode(errors="backslashreplace")
    return describe(path, name, status.st_size, status.st_mtime_ns)


def describe(path: Path, relative: str, size: int, modified_ns: int, etag: str = "") -> LandingFile:
    """Return what a file is by its name, relative to the landing zone."""
    parts = relative.split("/")
    compression = next((end for end in COMPRESSIONS if relative.endswith(end)), None)
    plain = parts[-1].removesuffix(compression or "")
    file_format = next((end for end in FORMATS if plain.endswith(end)), None)
    if file_format == ".parquet" and compression:
        file_format = None
    entity = "/".join(parts[:2]) if len(parts) > 2 else ""
    return LandingFile(
        path=path,
        relative=relative,
        entity=read_entities().get(entity),
        file_format=file_format,
        compression=compression,
        size=size,
        modified_ns=modified_ns,
        etag=etag,
    )


def look_up(landing: Path, relative: str) -> LandingFile | None:
    """Return the file of that name in the folder, or null if there is none."""
    with suppress(FileNotFoundError, NotADirectoryError):
        path = landing / relative
        return _describe(path, relative.split("/"), path.stat())
    return None


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
