"""A real Kinesis endpoint over HTTP (moto's server) that goes down and throttles on demand."""

from __future__ import annotations

import io
import json
import logging
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from landing_zone import Home, line, make_home
from moto.server import ThreadedMotoServer

REGION = "eu-central-1"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}
PUT = "Kinesis_20131202.PutRecords"
Respond = Callable[..., Any]


@dataclass
class FaultyKinesis:
    """Hold the endpoint; `refuse` picks the records of a request that are throttled.

    `error` is the code that every request to put records is refused with. `requests` has the
    partition keys of each one.
    """

    port: int = 0
    server: ThreadedMotoServer | None = None
    app: Respond | None = None
    refuse: Callable[[int], bool] | None = None
    error: str = ""
    requests: list[list[str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Come up, with all streams as they were."""
        self.server = ThreadedMotoServer("127.0.0.1", self.port, verbose=False)
        self.server.start()
        self.port = self.server.get_host_and_port()[1]
        self.app = self.server._server.app
        self.server._server.app = self

    def stop(self) -> None:
        """Go down: connections are refused."""
        if self.server:
            self.server.stop()
            self.server = None

    def __call__(self, environ: dict[str, Any], start: Respond) -> Iterable[bytes]:
        """Answer a request."""
        assert self.app is not None
        if environ.get("HTTP_X_AMZ_TARGET") != PUT:
            return self.app(environ, start)  # type: ignore[no-any-return]
        asked = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        self.requests.append([record["PartitionKey"] for record in asked["Records"]])
        if self.error:
            return _answer(start, "400 Bad Request", {"__type": self.error, "message": "no"})
        refused = {
            number for number in range(len(asked["Records"])) if self.refuse and self.refuse(number)
        }
        taken = [one for number, one in enumerate(asked["Records"]) if number not in refused]
        answer: dict[str, Any] = {"Records": []}
        if taken:
            body = json.dumps(asked | {"Records": taken}).encode()
            environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
            if not refused:
                return self.app(environ, start)  # type: ignore[no-any-return]
            answer = json.loads(b"".join(self.app(environ, lambda *_: None)))
        answered = iter(answer["Records"])
        throttled = {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "no"}
        return _answer(
            start,
            "200 OK",
            {
                "FailedRecordCount": len(refused),
                "Records": [
                    throttled if number in refused else next(answered)
                    for number in range(len(asked["Records"]))
                ],
            },
        )


def _answer(start: Respond, status: str, content: dict[str, Any]) -> list[bytes]:
    body = json.dumps(content).encode()
    headers = [("Content-Type", "application/x-amz-json-1.1"), ("Content-Length", str(len(body)))]
    start(status, headers)
    return [body]


@contextmanager
def kinesis_endpoint() -> Iterator[FaultyKinesis]:
    """Serve Kinesis on a free port; the SDK's environment points at it, of children too."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    endpoint = FaultyKinesis()
    endpoint.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": endpoint.url}.items():
                patch.setenv(name, value)
            for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
                patch.delenv(name, raising=False)
            yield endpoint
    finally:
        endpoint.stop()


@dataclass
class Stream:
    """A stream of two shards, and all that it holds."""

    endpoint: FaultyKinesis
    name: str = field(default_factory=lambda: f"trips-{uuid.uuid4().hex}")

    def make(self) -> Stream:
        """Make it."""
        with_client = boto3.client("kinesis")
        with_client.create_stream(StreamName=self.name, ShardCount=2)
        with_client.close()
        return self

    def records(self) -> list[dict[str, Any]]:
        """Return partition key and message of every record, in the order of its shard."""
        client = boto3.client("kinesis")
        found = []
        for shard in client.list_shards(StreamName=self.name)["Shards"]:
            iterator = client.get_shard_iterator(
                StreamName=self.name,
                ShardId=shard["ShardId"],
                ShardIteratorType="TRIM_HORIZON",
            )["ShardIterator"]
            while True:
                answer = client.get_records(ShardIterator=iterator, Limit=10_000)
                found += [
                    {"key": record["PartitionKey"], **json.loads(record["Data"])}
                    for record in answer["Records"]
                ]
                iterator = answer["NextShardIterator"]
                if not answer["MillisBehindLatest"] and not answer["Records"]:
                    break
        client.close()
        return found

    def events(self) -> list[str]:
        """Return the ids of the events, each where it came first."""
        return [*dict.fromkeys(record["event_id"] for record in self.records())]


def trip_event(number: int, trip: object = 1, **more: object) -> dict[str, Any]:
    """Return a delivery update that goes on the bus; they are a minute apart."""
    return {
        "event": {
            "_id": f"t{number}",
            "createdAt": f"2024-05-30T{10 + number // 60:02d}:{number % 60:02d}:00Z",
            "type": "user.entered_geofence",
            "location": {"type": "Point", "coordinates": [-120.23, 36.92]},
            "user": {"_id": f"driver-of-{trip}", "trip": {"_id": f"trip-{trip}"}},
            **more,
        }
    }


def bus_home(folder: Path, stream: Stream | None = None) -> Home:
    """Make an empty home, whose bus is the stream."""
    home = make_home(folder)
    if stream is not None:
        home.settings = home.settings.model_copy(update={"bus": f"kinesis://{stream.name}"})
    return home


def land(home: Home, name: str, *events: object) -> None:
    """Land trip events as one file."""
    home.land(f"trips/trip_events/{name}.ndjson", b"".join(line(one) for one in events))
