"""Events over HTTP beside the usual way: a web service that inserts a row into DuckDB for each.

    python -m benchmarks.collector

The same 700-byte delivery update, signed, goes to the collector with all its checks on; to a Flask
endpoint that inserts it over a connection that it keeps; and to one that opens the database,
inserts and closes it, as the original of this project did. One process sends one event a request,
to the collector over 64 connections; that also takes batches of 100 in NDJSON, and has its syncs
slowed by 5 ms. Processor time is that of the server alone.
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import cast

import uvloop

SECRET, KEY = "what-the-provider-signs-with", "a-key-for-everything"
CONNECTIONS = 64
BODY_BYTES = 700
BATCH = 100
TICKS = os.sysconf("SC_CLK_TCK")
WEBHOOK = "/v1/trips/webhook"


@dataclass(frozen=True)
class Outcome:
    """Say how a server did: events a second, processor time an event, seconds of each request."""

    events: int
    seconds: float
    server_seconds: float
    sender_seconds: float
    latencies: list[float] = field(repr=False)

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds

    @property
    def microseconds(self) -> float:
        """Processor time of the server an event."""
        return self.server_seconds / self.events * 1e6

    def latency(self, share: float) -> float:
        """Milliseconds that this share of the requests did not exceed."""
        return sorted(self.latencies)[int(len(self.latencies) * share)] * 1e3


def update(number: int) -> bytes:
    """Return a delivery update of the benchmark's size."""
    body = {
        "id": f"{number:024d}",
        "created_at": "2023-08-08T18:38:23.400Z",
        "live": "TRUE",
        "type": "user.updated_trip",
        "_id": "646e94a5be2c8d00504f9928",
        "MMUserId": "61947963940bbe643baf76d9",
        "location": {
            "type": "Point",
            "coordinates": {"longitude": "-120.2302705", "latitude": "36.923764"},
        },
        "trip": {
            "_id": "64d28078c0350b0050c026fc",
            "createdAt": "2023-08-08T17:50:48.793Z",
            "startedAt": "2023-08-08T17:50:48.793Z",
            "metadata": {"route_session_type": "64bebf32d38530406ca4f254"},
        },
    }
    body["note"] = "x" * (BODY_BYTES - len(json.dumps(body)) - len(', "note": ""'))
    return json.dumps(body).encode()


def signed_request(number: int) -> bytes:
    """Return one signed webhook."""
    signing_id = f"{os.getpid()}-{number}"
    signature = hmac.digest(SECRET.encode(), signing_id.encode(), "sha1").hex()
    body = update(number)
    return (
        f"POST {WEBHOOK} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"X-Radar-Signing-Id: {signing_id}\r\nX-Radar-Signature: {signature}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def batch_request(number: int) -> bytes:
    """Return a batch of events with a key."""
    body = b"\n".join(update(number * BATCH + one) for one in range(BATCH))
    return (
        f"POST /v1/trips/trip_events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        f"Content-Type: application/x-ndjson\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


class _Sender(asyncio.Protocol):
    """Send requests over one connection, each after the answer to the one before."""

    def __init__(self, requests: list[bytes], latencies: list[float]) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._requests = iter(requests)
        self._latencies = latencies
        self._answer = b""
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._next()

    def _next(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self._transport.close()
            self.done.set_result(None)
            return
        self._sent = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, end, body = self._answer.partition(b"\r\n\r\n")
        if not end:
            return
        length = next(
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        if len(body) < length:
            return
        if not head.startswith(b"HTTP/1.1 200"):
            self.done.set_exception(RuntimeError(self._answer.decode()))
            self._transport.close()
            return
        self._latencies.append(time.perf_counter() - self._sent)
        self._answer = b""
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or RuntimeError("the server has hung up"))


async def _send(port: int, requests: list[bytes]) -> list[float]:
    latencies: list[float] = []
    parts = [requests[start::CONNECTIONS] for start in range(CONNECTIONS)]
    senders = []
    for part in filter(None, parts):
        _, sender = await asyncio.get_running_loop().create_connection(
            partial(_Sender, part, latencies), "127.0.0.1", port
        )
        senders.append(sender)
    await asyncio.gather(*(sender.done for sender in senders))
    return latencies


def processor_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def measure(
    send: Callable[[int, list[bytes]], list[float]],
    port: int,
    pid: int,
    requests: list[bytes],
    events_each: int = 1,
) -> Outcome:
    """Send all requests, and say what that took."""
    server, sender, started = processor_seconds(pid), time.process_time(), time.perf_counter()
    latencies = send(port, requests)
    seconds = time.perf_counter() - started
    return Outcome(
        len(requests) * events_each,
        seconds,
        processor_seconds(pid) - server,
        time.process_time() - sender,
        latencies,
    )


def send_at_once(port: int, requests: list[bytes]) -> list[float]:
    """Send over all connections; return the seconds of each request."""
    return uvloop.run(_send(port, requests))


def send_one_by_one(port: int, requests: list[bytes]) -> list[float]:
    """Send each over a connection of its own, after the one before: Flask's server wants that."""
    latencies = []
    for request in requests:
        started = time.perf_counter()
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            client.sendall(request)
            answer = client.recv(65_536)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(answer.decode())
        latencies.append(time.perf_counter() - started)
    return latencies


COLLECTOR = """
import sys, time
from loaders.collector.disk import Disk
pause = float(sys.argv.pop())
if pause:
    sync = Disk.sync
    def slow(self, descriptor):
        sync(self, descriptor)
        time.sleep(pause)
    Disk.sync = slow
from larder.cli import main
main()
"""
FLASK = """
import sys, hmac, duckdb
from flask import Flask, request
port, database, keeps = int(sys.argv[1]), sys.argv[2], sys.argv[3] == "keeps"
app = Flask(__name__)
connection = duckdb.connect(database)
connection.execute("create table events (received_at timestamp default now(), body json)")
if not keeps:
    connection.close()
@app.post("/v1/trips/webhook")
def webhook():
    expected = hmac.new(SECRET, request.headers["X-Radar-Signing-Id"].encode(), "sha1").hexdigest()
    if not hmac.compare_digest(expected, request.headers["X-Radar-Signature"]):
        return {"error": "signature"}, 401
    request.get_json()
    opened = connection if keeps else duckdb.connect(database)
    opened.execute("insert into events (body) values (?)", [request.get_data(as_text=True)])
    if not keeps:
        opened.close()
    return {"accepted": 1}
from werkzeug.serving import WSGIRequestHandler, make_server
WSGIRequestHandler.protocol_version = "HTTP/1.1"
WSGIRequestHandler.log_request = lambda *_: None
make_server("127.0.0.1", port, app, threaded=THREADED).serve_forever()
"""


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(code: str, arguments: list[str], port: int, home: Path) -> Iterator[int]:
    """Run a server, and give its process's number when it answers."""
    environment = {
        "LARDER_HOME": str(home),
        "LARDER_RADAR_SECRET": SECRET,
        "LARDER_API_KEYS": f"{KEY}:*",
    }
    with (home / "server.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments], env={**os.environ, **environment}, stderr=log
        )
    try:
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                connection = HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", "/healthz")
                connection.getresponse().read()
                connection.close()
                break
            except (OSError, HTTPException):
                time.sleep(0.05)
        else:
            raise RuntimeError((home / "server.log").read_text(encoding="utf-8"))
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def of_collector(requests: list[bytes], events_each: int = 1, pause: float = 0.0) -> Outcome:
    """Measure the collector, its files on a disk and not in memory."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        port = free_port()
        arguments = ["collect", "--port", str(port), str(pause)]
        with serving(COLLECTOR, arguments, port, Path(folder)) as pid:
            warm = len(requests) // 20
            send_at_once(port, requests[:warm])
            return measure(send_at_once, port, pid, requests[warm:], events_each)


def of_flask(requests: list[bytes], way: str) -> Outcome:
    """Measure Flask with an insert for each event."""
    # a connection of DuckDB is one thread's, and a file that is opened and closed one process's
    code = FLASK.replace("SECRET", repr(SECRET.encode())).replace("THREADED", "False")
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        port = free_port()
        arguments = [str(port), f"{folder}/events.duckdb", way]
        with serving(code, arguments, port, Path(folder)) as pid:
            return measure(send_one_by_one, port, pid, requests)


def main() -> None:
    """Measure them all in one run and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--events", type=int, default=60_000, help="for the collector")
    events: int = parser.parse_args().events
    singles = [signed_request(number) for number in range(events)]
    batches = [batch_request(number) for number in range(events // 10)]
    found = {
        "collector": of_collector(singles),
        "collector, NDJSON of 100": of_collector(batches, BATCH),
        "collector, 5 ms more a sync": of_collector(singles[: events // 2], pause=0.005),
        "Flask, a kept connection": of_flask(singles[: events // 40], "keeps"),
        "Flask, opened for each event": of_flask(singles[: events // 200], "opens"),
    }
    own = found["collector"].microseconds
    print(f"{'':30} {'events/s':>10} {'µs CPU':>9} {'ratio':>7} {'p50 ms':>7} {'p99 ms':>7}")
    for name, outcome in found.items():
        print(
            f"{name:30} {outcome.rate:10,.0f} {outcome.microseconds:9,.1f} "
            f"{outcome.microseconds / own:7.1f} {outcome.latency(0.5):7.1f} "
            f"{outcome.latency(0.99):7.1f}"
        )


if __name__ == "__main__":
    main()
