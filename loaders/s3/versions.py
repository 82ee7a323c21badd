"""Rewrite objects for an erasure, and find the versions that S3 keeps of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from larder.errors import LandingError
from loaders.landing import LandingFile, describe
from loaders.s3.client import SDK_ERRORS
from loaders.s3.errors import code_of, explain, status_of
from loaders.zones import Version

if TYPE_CHECKING:
    from loaders.s3.zone import S3Zone

# What S3 takes in one request; only so can it be made sure that nobody else has written meanwhile.
MOST_BYTES = 5 * 1024**3
# It begins with an underscore: no load ever takes it for a file.
PROBE = "_larder_erase_probe"
# What describes an object besides its bytes, and must outlive them.
KEPT = (
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentType",
    "Metadata",
    "SSEKMSKeyId",
    "ServerSideEncryption",
    "StorageClass",
)
# How stores answer that have no versions, or no locks.
NOT_KNOWN = {"MethodNotAllowed", "NotImplemented", "XNotImplemented"}
NO_LOCK = {"ObjectLockConfigurationNotFoundError"}
UNCHANGED = "Nobody was erased yet, nothing was changed."
AGAIN = "Run `larder erase` again then; it goes on from where it stopped."


def require_rewritable(zone: S3Zone) -> None:
    """Try every right that an erasure takes on an object of our own, and refuse locked buckets.

    Raises:
        LandingError: a right is missing, the bucket must keep its versions, or an object is larger
            than can be replaced safely.
    """
    what = f"A person cannot be erased from {zone.name}"
    with _explained(what, "s3:GetBucketObjectLockConfiguration on it"):
        if _is_locked(zone):
            raise LandingError(
                f"A person cannot be erased from {zone.name}: the bucket has Object Lock, which "
                f"keeps older versions. {UNCHANGED} Let the files be landed in a bucket without "
                "it, or wait until its retention ends and turn it off."
            )
    with _explained(what, "s3:ListBucketVersions on it"):
        next(_list_versions(zone, zone.prefix + PROBE), None)
    probe = {"Bucket": zone.bucket, "Key": zone.prefix + PROBE}
    with _explained(what, "s3:PutObject on it"):
        made = zone.client.put_object(**probe, Body=b"")
    with _explained(what, "s3:DeleteObject and s3:DeleteObjectVersion on it"):
        version = made.get("VersionId")
        zone.client.delete_object(**probe, **({"VersionId": version} if version else {}))
    for file in zone.find():
        if file.size > MOST_BYTES:
            raise LandingError(
                f"A person cannot be erased from {zone.name}: {file.relative} has more than 5 GiB, "
                f"which S3 replaces in parts only. {UNCHANGED} Split it into smaller files."
            )


@contextmanager
def _explained(what: str, right: str) -> Iterator[None]:
    try:
        yield
    except SDK_ERRORS as error:
        raise explain(error, what, right, UNCHANGED) from error


def _is_locked(zone: S3Zone) -> bool:
    try:
        found = zone.client.get_object_lock_configuration(Bucket=zone.bucket)
    except ClientError as error:
        if code_of(error) in NO_LOCK | NOT_KNOWN or status_of(error) in (404, 405, 501):
            return False
        raise
    return bool(found.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled")


def replace_object(zone: S3Zone, file: LandingFile, content: Path) -> LandingFile:
    """Put other bytes in the place of an object's, if it still is what was listed.

    Raises:
        LandingError: it cannot be written, or has changed meanwhile.
    """
    place = {"Bucket": zone.bucket, "Key": zone.prefix + file.relative}
    try:
        kept = zone.client.head_object(**place)
        with content.open("rb") as body:
            zone.client.put_object(
                **place,
                Body=body,
                IfMatch=file.etag,
                **{name: kept[name] for name in KEPT if kept.get(name)},
            )
    except SDK_ERRORS as error:
        if status_of(error) in (404, 409, 412):
            raise LandingError(
                f"{zone.name}/{file.relative} was changed while a person was erased from it. Run "
                "`larder erase` again; it goes on from where it stopped."
            ) from error
        raise explain(
            error, f"{zone.name}/{file.relative} cannot be rewritten", "s3:PutObject on it", AGAIN
        ) from error
    return zone.look_up(file.relative) or file


def kept_versions(zone: S3Zone) -> Iterator[Version]:
    """Find every version of every object below the prefix, hidden names, too."""
    try:
        found = list(_list_versions(zone, zone.prefix))
    except SDK_ERRORS as error:
        raise explain(
            error, f"The versions in {zone.name} cannot be listed", "s3:ListBucketVersions", AGAIN
        ) from error
    for listed in found:
        file = describe(
            Path(),
            listed["Key"].removeprefix(zone.prefix),
            listed["Size"],
            int(listed["LastModified"].timestamp()) * 1_000_000_000,
            listed["ETag"],
        )
        version = str(listed.get("VersionId", "null"))
        named = {} if version == "null" and listed["IsLatest"] else {"VersionId": version}
        brought: Callable[[], AbstractContextManager[LandingFile]] = partial(
            zone.brought, file, **named
        )
        yield Version(file, listed["IsLatest"], brought, partial(_delete, zone, file, version))


def _delete(zone: S3Zone, file: LandingFile, version: str) -> None:
    try:
        zone.client.delete_object(
            Bucket=zone.bucket, Key=zone.prefix + file.relative, VersionId=version
        )
    except SDK_ERRORS as error:
        raise explain(
            error,
            f"An older version of {zone.name}/{file.relative} cannot be deleted",
            "s3:DeleteObjectVersion on it",
            AGAIN,
        ) from error


def _list_versions(zone: S3Zone, prefix: str) -> Iterator[dict[str, Any]]:
    """List the versions; a store that has none lists its objects."""
    try:
        pages = zone.client.get_paginator("list_object_versions").paginate(
            Bucket=zone.bucket, Prefix=prefix
        )
        for page in pages:
            yield from page.get("Versions", ())
    except ClientError as error:
        if code_of(error) not in NOT_KNOWN:
            raise
        yield from (listed | {"IsLatest": True} for listed in zone.list_objects(prefix))
