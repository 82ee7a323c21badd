"""A real S3 endpoint over HTTP (moto's server) that fails when a test tells it to."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from landing_zone import Home
from moto.server import ThreadedMotoServer

from larder.settings import Settings
from loaders.s3 import zone

Respond = Callable[..., Any]
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "eu-central-1",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_MAX_ATTEMPTS": "2",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass
class Fault:
    """Answer requests like `method` on a path that has `part` wrongly, so many `times`.

    With a `code` the answer is an error of S3, with a `body` that is all of it; else what is right
    ends after `kept` bytes.
    """

    method: str
    part: str
    status: int = 200
    code: str = ""
    times: int = 10**9
    kept: int = 0
    body: Iterable[bytes] | None = None
    before: Callable[[], object] | None = None

    def answer(self, environ: dict[str, Any], start: Respond, app: Respond) -> Iterable[bytes]:
        """Answer wrongly."""
        if self.before:
            self.before()
            return app(environ, start)  # type: ignore[no-any-return]
        if self.code:
            body = f"<Error><Code>{self.code}</Code><Message>no</Message></Error>".encode()
            start(f"{self.status} Wrong", [("Content-Length", str(len(body)))])
            return [body]
        if self.body is not None:
            start("200 OK", [("ETag", '"x"')])
            return self.body
        return [b"".join(app(environ, start))[: self.kept]]


@dataclass
class FaultyS3:
    """Hold the server, what it was asked, and how it fails."""

    url: str
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    app: Respond | None = None
    client: Any = None

    def __call__(self, environ: dict[str, Any], start: Respond) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        place = f"{environ['PATH_INFO']}?{environ['QUERY_STRING']}"
        self.requests.append(f"{method} {place}")
        assert self.app is not None
        for fault in self.faults:
            if fault.times > 0 and fault.method == method and fault.part in place:
                fault.times -= 1
                return fault.answer(environ, start, self.app)
        return self.app(environ, start)  # type: ignore[no-any-return]

    def downloads(self) -> list[str]:
        """Return the requests that have asked for an object's bytes."""
        return [one for one in self.requests if one.startswith("GET") and one.endswith("n?")]


@contextmanager
def faulty_server() -> Iterator[FaultyS3]:
    """Serve S3 and SQS on a free port of this computer."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    faulty = FaultyS3(f"http://{host}:{port}", app=server._server.app)
    server._server.app = faulty
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", faulty.url)
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        patch.setattr(zone, "READ_PAUSE_SECONDS", 0.01)
        faulty.client = boto3.client("s3")
        yield faulty
        faulty.client.close()
    server.stop()


class S3Home(Home):  # type: ignore[misc]
    """A home whose files arrive in a bucket of their own."""

    def __init__(self, folder: Path, bucket: str, s3: FaultyS3) -> None:
        super().__init__(
            Settings(
                home=folder / "home",
                key_file=folder / "key",
                lock_wait_seconds=30.0,
                memory_limit="1GB",
                landing=f"s3://{bucket}/in",
            )
        )
        self.s3, self.bucket = s3, bucket
        self.client = s3.client
        self.client.create_bucket(
            Bucket=bucket,
            CreateBucketConfiguration={"LocationConstraint": ENVIRONMENT["AWS_REGION"]},
        )

    def put(self, name: str, content: bytes) -> None:
        """Write an object below the prefix."""
        self.client.put_object(Bucket=self.bucket, Key=f"in/{name}", Body=content)

    def get(self, name: str) -> bytes:
        """Return the bytes of an object below the prefix."""
        body: bytes = self.client.get_object(Bucket=self.bucket, Key=f"in/{name}")["Body"].read()
        return body

    def names(self) -> list[str]:
        """Return the names of the objects below the prefix."""
        listed = self.client.list_objects_v2(Bucket=self.bucket, Prefix="in/")
        return [one["Key"].removeprefix("in/") for one in listed.get("Contents", ())]
