"""The plain bytes of a landing file, compressed or not."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, cast

import pyarrow as pa

from loaders.landing import CHUNK_BYTES, LandingFile

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class UnreadableFileError(Exception):
    """Say why a whole file cannot be read: `reason`, `detail`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


def decompressed(file: LandingFile, scratch: Path) -> Path:
    """Return the path of the plain file: `scratch`, where the landed one has to be changed for it.

    Raises:
        UnreadableFileError: the compressed data is damaged or cut off.
    """
    if file.compression is None:
        if not re.search(r"[*?\[\]{}]", str(file.path)):
            return file.path
        scratch.symlink_to(file.path.absolute())  # the engine would take the name for a pattern
        return scratch
    with plain_bytes(file) as source, scratch.open("wb") as target:
        while chunk := source.read(CHUNK_BYTES):
            target.write(chunk)
    return scratch


@contextmanager
def plain_bytes(file: LandingFile) -> Iterator[IO[bytes]]:
    """Open the file's plain bytes; damage in the compressed data becomes an error of ours.

    Raises:
        UnreadableFileError: the compressed data is damaged or cut off.
    """
    try:
        with closing(open_plain(file.path, file.compression)) as stream:
            yield stream
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        # a full disk is not the file's fault
        is_the_disks = isinstance(error, OSError) and error.errno is not None
        if file.compression is None or is_the_disks:
            raise
        raise UnreadableFileError(
            "corrupt_file", f"the {file.compression} data is damaged or cut off"
        ) from None


def open_plain(path: Path, compression: str | None) -> IO[bytes]:
    """Open a file for its plain bytes; errors are those of the library that decompresses it."""
    if compression == ".gz":
        return cast(IO[bytes], gzip.open(path, "rb"))
    if compression == ".zst":
        return cast(IO[bytes], pa.CompressedInputStream(pa.OSFile(str(path)), "zstd"))
    return path.open("rb", buffering=0)


def skip_byte_order_mark(file: IO[bytes]) -> None:
    """Go behind the mark that some programs put at the start of UTF-8, where there is one."""
    if file.read(len(BYTE_ORDER_MARK)) != BYTE_ORDER_MARK:
        file.seek(0)
