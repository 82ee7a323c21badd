"""A place that files are published to: a folder, or a prefix of an S3 bucket.

S3 knows no rename. So a reader finds what is there through one small file that is put last, and in
a folder the same is done.
"""

from __future__ import annotations

import os
import shutil
import uuid
from abc import ABC, abstractmethod
from collections.abc import Container, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from pyarrow import fs

from larder.errors import WarehouseError
from larder.serving.publish import sync

SCHEME = "s3://"


class Place(ABC):
    """A folder or a bucket; names are relative to it and have slashes."""

    def __init__(self, url: str) -> None:
        self.url = url

    @abstractmethod
    def sizes(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """List names that begin so with their bytes, also those begun and never finished."""

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """Return the content of a file, or null when it is not there."""

    @abstractmethod
    def put(self, file: Path, name: str) -> None:
        """Take a local file over under this name: whole or not at all."""

    @abstractmethod
    def fetch(self, name: str, target: Path) -> None:
        """Copy a file to a local one."""

    @abstractmethod
    def remove(self, prefix: str, keeping: Container[str] = ()) -> None:
        """Remove everything else whose name begins so for good, earlier versions too."""

    @abstractmethod
    def filesystem(self) -> tuple[fs.FileSystem, str]:
        """Return what pyarrow reads this place with, and the path of it there."""

    def names(self, prefix: str = "") -> Iterator[str]:
        """List the names that begin so."""
        for name, _ in self.sizes(prefix):
            yield name

    def write(self, content: str, name: str, aside: Path) -> None:
        """Put a text; `aside` is a local file to prepare it in."""
        aside.write_text(content, encoding="utf-8")
        self.put(aside, name)


class Folder(Place):
    """A folder of this machine."""

    @property
    def _path(self) -> Path:
        return Path(self.url)

    def sizes(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        for folder, _, names in os.walk(self._path / prefix.rpartition("/")[0]):
            for name in names:
                file = Path(folder) / name
                found = file.relative_to(self._path).as_posix()
                if found.startswith(prefix):
                    yield found, file.stat().st_size

    def read(self, name: str) -> bytes | None:
        try:
            return (self._path / name).read_bytes()
        except FileNotFoundError:
            return None

    def put(self, file: Path, name: str) -> None:
        final = self._path / name
        final.parent.mkdir(parents=True, exist_ok=True)
        beside = final.with_name(f".{final.name}.{uuid.uuid4().hex}.tmp")
        try:
            shutil.copyfile(file, beside)
            sync(beside)
            beside.replace(final)
        finally:
            beside.unlink(missing_ok=True)
        sync(final.parent)

    def fetch(self, name: str, target: Path) -> None:
        shutil.copyfile(self._path / name, target)

    def remove(self, prefix: str, keeping: Container[str] = ()) -> None:
        for name in list(self.names(prefix)):
            if name in keeping:
                continue
            (self._path / name).unlink()
            for folder in (self._path / name).parents:
                if folder == self._path or any(folder.iterdir()):
                    break
                folder.rmdir()

    def filesystem(self) -> tuple[fs.FileSystem, str]:
        return fs.LocalFileSystem(), self.url


class Bucket(Place):
    """A prefix of a bucket; endpoint, region and credentials are the AWS SDK's own settings."""

    def __init__(self, url: str, endpoint: str | None = None) -> None:
        super().__init__(url)
        self.bucket, _, prefix = url.removeprefix(SCHEME).partition("/")
        self._prefix = f"{prefix}/" if prefix else ""
        self._session = _session()
        self._client: Any = self._session.client("s3", endpoint_url=endpoint)

    def sizes(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=self._prefix + prefix
        )
        for page in pages:
            for found in page.get("Contents", ()):
                yield found["Key"].removeprefix(self._prefix), found["Size"]

    def read(self, name: str) -> bytes | None:
        try:
            found = self._client.get_object(Bucket=self.bucket, Key=self._prefix + name)
        except self._client.exceptions.NoSuchKey:
            return None
        content: bytes = found["Body"].read()
        return content

    def put(self, file: Path, name: str) -> None:
        self._client.upload_file(str(file), self.bucket, self._prefix + name)

    def fetch(self, name: str, target: Path) -> None:
        self._client.download_file(self.bucket, self._prefix + name, str(target))

    def remove(self, prefix: str, keeping: Container[str] = ()) -> None:
        place = {"Bucket": self.bucket, "Prefix": self._prefix + prefix}
        # a bucket that keeps versions would otherwise keep what was removed
        for page in self._client.get_paginator("list_object_versions").paginate(**place):
            found = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
            objects = [
                {"Key": one["Key"], "VersionId": one["VersionId"]}
                for one in found
                if one["Key"].removeprefix(self._prefix) not in keeping
            ]
            if objects:
                done = self._client.delete_objects(
                    Bucket=self.bucket, Delete={"Objects": objects, "Quiet": True}
                )
                if done.get("Errors"):
                    raise WarehouseError(
                        f"{len(done['Errors'])} files below {self.url}/{prefix} cannot be removed "
                        f"({done['Errors'][0]['Code']}). Give this user s3:DeleteObjectVersion on "
                        "the bucket and run again."
                    )
        # … and the parts of an upload that was killed are seen by nobody, but there
        for page in self._client.get_paginator("list_multipart_uploads").paginate(**place):
            for one in page.get("Uploads", ()):
                self._client.abort_multipart_upload(
                    Bucket=self.bucket, Key=one["Key"], UploadId=one["UploadId"]
                )

    def filesystem(self) -> tuple[fs.FileSystem, str]:
        found = self._session.get_credentials()
        credentials = found.get_frozen_credentials() if found else None
        scheme, _, host = self._client.meta.endpoint_url.partition("://")
        is_aws = host.endswith((".amazonaws.com", ".amazonaws.com.cn"))
        system = fs.S3FileSystem(
            access_key=credentials.access_key if credentials else None,
            secret_key=credentials.secret_key if credentials else None,
            session_token=credentials.token if credentials else None,
            region=self._client.meta.region_name,
            scheme=scheme,
            endpoint_override=None if is_aws else host,
        )
        return system, f"{self.bucket}/{self._prefix}".rstrip("/")


@contextmanager
def open_place(url: str, name: str, endpoint: str | None = None) -> Iterator[Place]:
    """Open a folder or an `s3://` prefix; `name` is the setting that it comes from.

    `endpoint` takes the place of the one that the SDK is set to.

    Raises:
        WarehouseError: it cannot be reached, read or written.
    """
    is_bucket = url.startswith(SCHEME)
    try:
        yield Bucket(url, endpoint) if is_bucket else Folder(url)
    except Exception as error:
        if not isinstance(error, (*(_sdk_errors() if is_bucket else ()), OSError)):
            raise
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise WarehouseError(
            f"{name}: {url} cannot be used ({reason.strip().rstrip('.')}). Correct {name}, the "
            "rights there, or the AWS_… variables (endpoint, region, credentials), and run again."
        ) from None


@cache
def _session() -> Any:
    """Return the SDK's session, which takes a while to make; who has no bucket needs none.

    AWS_REGION counts before AWS_DEFAULT_REGION, the only one that this SDK reads by itself.
    """
    import boto3

    return boto3.Session(region_name=os.environ.get("AWS_REGION") or None)


def _sdk_errors() -> tuple[type[Exception], ...]:
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    return Boto3Error, BotoCoreError, ClientError
