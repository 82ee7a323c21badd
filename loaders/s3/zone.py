"""A landing zone in S3: list its objects, and bring the bytes of one of them to a local path.

Endpoint, region and credentials are the AWS SDK's own (AWS_ENDPOINT_URL, AWS_REGION, AWS_PROFILE
and whatever else it knows), and so are its retries (AWS_MAX_ATTEMPTS, AWS_RETRY_MODE).
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from boto3.exceptions import S3UploadFailedError
from botocore.config import Config
from botocore.exceptions import (
    FlexibleChecksumError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from larder.errors import LandingError
from larder.settings import Settings
from loaders.asides import make_aside, remove_aside
from loaders.landing import LandingFile, describe, is_taken
from loaders.s3.client import SDK_ERRORS, connect
from loaders.s3.errors import EXPIRED, NOT_ACCEPTED, OVERLOADED, code_of, explain, status_of
from loaders.s3.versions import kept_versions, replace_object, require_rewritable
from loaders.zones import NotReadError, Unread, Version

# They mostly wait for the network; two of them compute.
DOWNLOADS_AT_ONCE = 8
CHUNK_BYTES = 1024 * 1024
# A body that breaks off is read on from where it broke, so often in a row without a byte more.
READ_ATTEMPTS = 4
READ_PAUSE_SECONDS = 0.2
# Objects that fail one after the other for want of the service: it is no use asking for the rest.
MOST_FAILURES = 8
NOWHERE = Path(os.devnull)

BROKEN_READS = (
    FlexibleChecksumError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)


def make_client(service: str, what: str) -> Any:
    """Return a client of the AWS SDK; `what` it is for begins the sentence if there is none.

    Raises:
        LandingError: the SDK's settings cannot be used.
    """
    try:
        return connect(service, Config(max_pool_connections=2 * DOWNLOADS_AT_ONCE))
    except SDK_ERRORS as error:
        raise explain(error, what, "") from error


@contextmanager
def open_bucket(settings: Settings) -> Iterator[S3Zone]:
    """Open the landing zone in S3.

    Raises:
        LandingError: the SDK's settings cannot be used.
    """
    assert settings.landing_bucket is not None
    bucket, prefix = settings.landing_bucket
    client = make_client("s3", f"The landing zone s3://{bucket}/{prefix} cannot be read")
    with closing(client):
        yield S3Zone(client, bucket, prefix, settings.raw_folder)


class S3Zone:
    """The objects below a prefix; see `loaders.zones.Zone`. Safe for several threads."""

    files_at_once = DOWNLOADS_AT_ONCE

    def __init__(self, client: Any, bucket: str, prefix: str, raw: Path) -> None:
        self.client = client
        self.bucket = bucket
        self.prefix = prefix
        self.name = f"s3://{bucket}/{prefix}".rstrip("/")
        self._raw = raw
        self._failures = 0

    def find(self) -> Iterator[LandingFile]:
        """Find the objects, as they are listed; see `Zone`."""
        for listed in self.list_objects(self.prefix):
            if is_taken(listed["Key"].removeprefix(self.prefix).split("/")):
                yield self._describe(listed)

    def look_up(self, relative: str) -> LandingFile | None:
        """Return the object of that name, or null; it is listed, for a HEAD tells no reason."""
        listed = next(self.list_objects(self.prefix + relative, 1), None)
        if listed is None or listed["Key"] != self.prefix + relative:
            return None
        return self._describe(listed)

    def list_objects(self, prefix: str, most: int | None = None) -> Iterator[dict[str, Any]]:
        """List the objects whose key begins so, as S3 describes them."""
        try:
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=prefix, PaginationConfig={"MaxItems": most}
            )
            for page in pages:
                for listed in page.get("Contents", ()):
                    if not listed["Key"].endswith("/"):  # what the console makes for a folder
                        yield listed
        except SDK_ERRORS as error:
            raise explain(
                error, f"The landing zone {self.name} cannot be listed", "s3:ListBucket on it"
            ) from error

    def _describe(self, listed: dict[str, Any]) -> LandingFile:
        modified_ns = int(listed["LastModified"].timestamp()) * 1_000_000_000
        relative = listed["Key"].removeprefix(self.prefix)
        return describe(NOWHERE, relative, listed["Size"], modified_ns, listed["ETag"])

    @contextmanager
    def brought(self, file: LandingFile, **version: str) -> Iterator[LandingFile]:
        """Give the object as a file that looks as if it had been landed here; see `Zone`."""
        aside = make_aside(self._raw)
        try:
            # by the ending whoever searches it knows what compression hides
            target = aside / f"brought{file.compression or file.file_format or ''}"
            self.download(file, target, **version)
            os.utime(target, ns=(file.modified_ns, file.modified_ns))
            yield replace(file, path=target)
        finally:
            remove_aside(aside)

    def download(self, file: LandingFile, target: Path, **version: str) -> None:
        """Write the bytes of an object as it was listed (or of a version of it) to a local path.

        Raises:
            NotReadError: it was taken away or replaced meanwhile, or cannot be read.
            LandingError: no object can be read.
        """
        try:
            with target.open("wb") as sink:
                self._read(file, sink, version)
            self._failures = 0
        except SDK_ERRORS as error:
            raise self._translate(file, error) from error
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise LandingError(
                f"There is no room below LARDER_HOME for {file.relative} ({file.size:,} bytes). "
                "Make room and load again; nothing was lost."
            ) from error

    def _read(self, file: LandingFile, sink: IO[bytes], version: dict[str, str]) -> None:
        """Read the whole body; what breaks off is read on from there, if it is still the same."""
        asked = {"Bucket": self.bucket, "Key": self.prefix + file.relative, **version}
        attempts = done = 0
        while True:
            try:
                there = {"Range": f"bytes={done}-"} if done else {}
                answer = self.client.get_object(**asked, IfMatch=file.etag, **there)
                if done and status_of_answer(answer) != 206:  # some stores know no ranges
                    done = 0
                sink.seek(done)
                with closing(answer["Body"]) as body:
                    for chunk in body.iter_chunks(CHUNK_BYTES):
                        sink.write(chunk)
                if sink.tell() == file.size:
                    sink.truncate()
                    return
                raise IncompleteReadError(actual_bytes=sink.tell(), expected_bytes=file.size)
            except BROKEN_READS as error:
                # what fails its checksum is read anew as a whole
                is_damaged = isinstance(error, FlexibleChecksumError) or sink.tell() > file.size
                has_more = done < sink.tell() and not is_damaged
                done = 0 if is_damaged else sink.tell()
                attempts = 1 if has_more else attempts + 1
                if attempts >= READ_ATTEMPTS:
                    raise
                time.sleep(READ_PAUSE_SECONDS * 2**attempts)

    def _translate(self, file: LandingFile, error: Exception) -> Exception:
        """Tell what concerns one object from what concerns all."""
        code, status = code_of(error), status_of(error)
        if code == "NoSuchKey" or (status == 404 and code not in ("NoSuchBucket",)):
            return self._unread(file, "it was taken away after it was listed", is_failure=False)
        if status == 412:
            return self._unread(
                file, "it was replaced after it was listed (another ETag)", is_failure=False
            )
        is_overloaded = code in OVERLOADED or status >= 500 or isinstance(error, BROKEN_READS)
        if is_overloaded:
            self._failures += 1
            if self._failures >= MOST_FAILURES:
                return explain(error, f"{self.name} cannot be read", "s3:GetObject on it")
        if isinstance(error, BROKEN_READS):
            return self._unread(
                file, f"only a part of it came, also when tried again ({type(error).__name__})"
            )
        if is_overloaded:
            return self._unread(
                file, f"there were too many requests, or the service failed ({code or status})"
            )
        if code == "InvalidObjectState":
            return self._unread(file, "it is archived: restore it in S3")
        is_of_all = code in EXPIRED | NOT_ACCEPTED | {"NoSuchBucket", "RequestTimeTooSkewed"}
        if status and not is_of_all:
            return self._unread(
                file, f"it may not be read ({code or status}): give the right s3:GetObject on it"
            )
        return explain(error, f"{self.name} cannot be read", "s3:GetObject on it")

    def _unread(self, file: LandingFile, why: str, *, is_failure: bool = True) -> NotReadError:
        return NotReadError(Unread(file.relative, why, is_failure))

    def put(self, relative: str, content: Path) -> None:
        """Write a new object, whole or not at all, in parts where it is large."""
        try:
            self.client.upload_file(str(content), self.bucket, self.prefix + relative)
        except (*SDK_ERRORS, S3UploadFailedError) as error:
            cause = error.__context__ if isinstance(error, S3UploadFailedError) else error
            assert isinstance(cause, Exception)
            raise explain(
                cause,
                f"{self.name}/{relative} cannot be written",
                "s3:PutObject on it",
                "Nothing of it was written.",
            ) from error

    def require_rewritable(self) -> None:
        """Make sure that a person can be erased from the objects; see `Zone`."""
        require_rewritable(self)

    def replace(self, file: LandingFile, content: Path) -> LandingFile:
        """Put other bytes in the place of an object's; see `Zone`."""
        return replace_object(self, file, content)

    def kept_versions(self) -> Iterator[Version]:
        """Find all versions that S3 keeps; see `Zone`."""
        return kept_versions(self)


def status_of_answer(answer: dict[str, Any]) -> int:
    """Return the HTTP status of an answer that is no error."""
    return int(answer["ResponseMetadata"]["HTTPStatusCode"])
