"""A collector of its own process, started and killed by tests, and what is sent to it."""

from __future__ import annotations

import hmac
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

KEY = "a-key-for-everything"
SECRET = "what-the-provider-signs-with"  # noqa: S105
COLLECT = "import sys; sys.argv[0] = 'larder'; from larder.cli import main; main()"
READY_SECONDS = 30.0

Answer = tuple[int, dict[str, Any]]


def menu_event(number: int, **more: object) -> dict[str, object]:
    """Return a menu event that a load takes."""
    return {
        "event_id": f"menu-{number}",
        "occurred_at": "2024-06-01T10:00:00Z",
        "location_id": "restaurant-1",
        "visitor_id": f"visitor-{number % 7}",
        "kind": "item_viewed",
        "item_id": "soup",
        **more,
    }


def trip_event(number: int, **more: object) -> dict[str, object]:
    """Return a delivery update in its nested form."""
    return {
        "event": {
            "_id": f"trip-event-{number}",
            "createdAt": "2024-06-01T10:00:00Z",
            "type": "user.updated_trip",
            "location": {"type": "Point", "coordinates": [-120.23, 36.92]},
            "user": {"_id": "driver-1", "trip": {"_id": "trip-1"}},
            **more,
        }
    }


def signed(signing_id: str) -> dict[str, str]:
    """Return the headers of the provider's signature."""
    signature = hmac.digest(SECRET.encode(), signing_id.encode(), "sha1").hex()
    return {"X-Radar-Signing-Id": signing_id, "X-Radar-Signature": signature}


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class RunningCollector:
    """A collector, and one connection to it."""

    home: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    # the largest file that it may write: what is beyond fails in the middle of a write
    most_bytes: int | None = None
    # what its process runs
    code: str = COLLECT
    process: subprocess.Popen[str] | None = None
    # headers of the last answer, in small letters
    told: dict[str, str] = field(default_factory=dict)
    _connection: HTTPConnection | None = None

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        self.process = subprocess.Popen(
            [sys.executable, "-c", self.code, "collect", "--port", str(self.port), *self.options],
            env={**os.environ, "LARDER_HOME": str(self.home), **self.environment},
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=self._limit_files,
        )
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until and self.process.poll() is None:
            with suppress(OSError, HTTPException):
                if self.get("/readyz")[0] == 200:
                    return
            time.sleep(0.02)
        self.process.kill()
        raise AssertionError(self.process.communicate()[1])

    def _limit_files(self) -> None:
        if self.most_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.most_bytes, self.most_bytes))

    def kill(self, with_signal: int = signal.SIGKILL) -> str:
        """End it, and return what it has said."""
        assert self.process is not None
        self.process.send_signal(with_signal)
        said = self.process.communicate(timeout=60)[1]
        self.hang_up()
        return said

    def hang_up(self) -> None:
        """Close the connection."""
        if self._connection:
            self._connection.close()
            self._connection = None

    def post(
        self, path: str, body: object, headers: Mapping[str, str] | None = None, key: str = KEY
    ) -> Answer:
        """Send a body: bytes as they are, anything else as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Content-Type": "application/json", **(headers or {})}
        if key and "X-Radar-Signature" not in sent:
            sent["Authorization"] = f"Bearer {key}"
        return self._ask("POST", path, content, sent)

    def post_lines(self, path: str, *records: object) -> Answer:
        """Send records, one a line."""
        content = b"\n".join(
            one if isinstance(one, bytes) else json.dumps(one).encode() for one in records
        )
        return self.post(path, content, {"Content-Type": "application/x-ndjson"})

    def get(self, path: str) -> Answer:
        """Ask for a page."""
        return self._ask("GET", path, None, {})

    def _ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        if self._connection is None:
            self._connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            self._connection.request(method, path, body, headers)
            response = self._connection.getresponse()
            content = response.read()
        except (OSError, HTTPException):
            self.hang_up()
            raise
        self.told = {name.lower(): value for name, value in response.getheaders()}
        is_json = response.headers.get_content_type() == "application/json"
        return response.status, json.loads(content) if is_json else {"text": content.decode()}


def measured(collector: RunningCollector, sample: str) -> float:
    """Return what `/metrics` says of a sample, such as `name{label="value"}`; 0: nothing yet."""
    for line in collector.get("/metrics")[1]["text"].splitlines():
        name, _, value = line.rpartition(" ")
        if name == sample:
            return float(value)
    return 0.0


@contextmanager
def running(
    home: Path,
    *options: str,
    environment: Mapping[str, str] | None = None,
    code: str = COLLECT,
) -> Iterator[RunningCollector]:
    """Give a collector with a key for everything and the provider's secret."""
    chosen = {"LARDER_API_KEYS": f"{KEY}:*", "LARDER_RADAR_SECRET": SECRET, **(environment or {})}
    collector = RunningCollector(home, chosen, options, code=code)
    collector.start()
    try:
        yield collector
    finally:
        assert collector.process is not None
        if collector.process.poll() is None:
            collector.kill(signal.SIGTERM)
