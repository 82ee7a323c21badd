"""Events over HTTP beside the usual way: a web service that inserts a row into DuckDB for each.

    python -m benchmarks.collector

The same 700-byte delivery update, signed, goes to the collector with all its checks on; to a Flask
endpoint that inserts it over a connection that it keeps; and to one that opens the database,
inserts and closes it, as the original of this project did. One process sends one event a request,
to the collector over 64 connections that are kept, to Flask over a new one each time, as its server
keeps none. The collector also takes batches of 100 in NDJSON, and has its syncs slowed by 5 ms.
Processor time is that of the server alone, until what it took has landed, without the first
requests of a round; the sender is on the same machine. They take turns, five rounds each, as how
fast a machine is that others share moves by half within the hour.
Targets: 20 and 150 times less of it an event than Flask, 5,000 events/s with p99 at most 50 ms,
100,000/s in batches, 3,000/s with slow syncs, on two cores that nobody else uses.
"""

from __future__ import annotations

import argparse
import hmac
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from larder.settings import PROJECT_ROOT
from loaders.collector.segments import find_segments

SECRET, KEY = "what-the-provider-signs-with", "a-key-for-everything"
CONNECTIONS = 64
ROUNDS = 5
MOST_P99_MILLISECONDS = 50
BODY_BYTES = 700
BATCH = 100
TICKS = os.sysconf("SC_CLK_TCK")
WEBHOOK = "/v1/trips/webhook"
ANSWER = b'{"accepted":%d,"rejected":0}'
SINGLE = "collector"
LINES = "collector, NDJSON of 100"
SLOWED = "collector, 5 ms more a sync"
KEPT = "Flask, a kept connection"
OPENED = "Flask, opened for each event"


@dataclass(frozen=True)
class Outcome:
    """Say how a server did: events a second, processor time an event, seconds of each request."""

    events: int
    seconds: float
    server_seconds: float
    sender_seconds: float
    latencies: list[float] = field(repr=False)

    def __add__(self, other: Outcome) -> Outcome:
        """Return how it did in both rounds together."""
        return Outcome(
            self.events + other.events,
            self.seconds + other.seconds,
            self.server_seconds + other.server_seconds,
            self.sender_seconds + other.sender_seconds,
            self.latencies + other.latencies,
        )

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


class _Client:
    """Send requests over one connection, each after the answer to the one before."""

    def __init__(self, port: int, requests: Iterator[bytes], expected: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._requests = requests
        self._expected = expected
        self._answer = b""
        self._sent = 0.0
        self.seconds: list[float] = []

    def go_on(self) -> bool:
        """Send the next request; false where there is none."""
        request = next(self._requests, None)
        if request is None:
            self.socket.close()
            return False
        self._sent = time.perf_counter()
        self.socket.sendall(request)
        return True

    def receive(self) -> bool:
        """Take what has come; true where the answer is whole, and the one that is wanted."""
        part = self.socket.recv(65_536)
        self._answer += part
        if self._answer.endswith(self._expected):
            self.seconds.append(time.perf_counter() - self._sent)
            if not self._answer.startswith(b"HTTP/1.1 200 "):
                raise RuntimeError(self._answer.decode())
            self._answer = b""
            return True
        if not part or b"\r\n\r\n{" in self._answer:
            raise RuntimeError(f"{self._answer!r} is no {self._expected!r}")
        return False


def send(port: int, requests: list[bytes], connections: int, expected: bytes) -> list[float]:
    """Send all requests over so many connections; return the seconds of each.

    Bare sockets: whatever the sender takes, the server on the same two cores does not have.
    """
    clients: dict[int, _Client] = {}
    waiting = select.epoll()
    for start in range(connections):
        client = _Client(port, iter(requests[start::connections]), expected)
        clients[client.socket.fileno()] = client
        waiting.register(client.socket.fileno(), select.EPOLLIN)
    found: list[float] = []
    for descriptor, client in list(clients.items()):
        if not client.go_on():
            del clients[descriptor]
    while clients:
        ready = waiting.poll(30)
        if not ready:
            raise RuntimeError("no answer for 30 s")
        for descriptor, _ in ready:
            client = clients[descriptor]
            if client.receive() and not client.go_on():
                found += client.seconds
                del clients[descriptor]
    waiting.close()
    return found


def send_apart(port: int, requests: list[bytes]) -> list[float]:
    """Send each over a connection of its own, after the one before: Flask's server closes each."""
    return [second for one in requests for second in send(port, [one], 1, ANSWER % 1)]


def processor_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def measure(
    sending: Callable[[list[bytes]], list[float]],
    pid: int,
    every: list[bytes],
    events_each: int = 1,
    finished: Callable[[], None] = lambda: None,
) -> Outcome:
    """Send all requests, and say what all but the first of them took.

    `finished` returns when the server has nothing left to do about those that it has answered:
    that is its processor time, too.
    """
    warm, requests = every[: len(every) // 20], every[len(every) // 20 :]
    sending(warm)
    finished()
    server, sender, started = processor_seconds(pid), time.process_time(), time.perf_counter()
    latencies = sending(requests)
    seconds, sender_seconds = time.perf_counter() - started, time.process_time() - sender
    finished()
    if len(latencies) != len(requests):
        raise RuntimeError(f"{len(latencies)} answers to {len(requests)} requests")
    return Outcome(
        len(requests) * events_each,
        seconds,
        processor_seconds(pid) - server,
        sender_seconds,
        latencies,
    )


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
from flask import Flask, Response, request
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
    return Response('{"accepted":1,"rejected":0}', mimetype="application/json")
from werkzeug.serving import WSGIRequestHandler, make_server
WSGIRequestHandler.protocol_version = "HTTP/1.1"
WSGIRequestHandler.log_request = lambda *_: None
make_server("127.0.0.1", port, app, threaded=False).serve_forever()
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


@contextmanager
def folder_on_disk(beside: Path = PROJECT_ROOT / "build") -> Iterator[Path]:
    """Give a folder that git ignores; /tmp may be in memory, whose syncs cost nothing."""
    beside.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="larder-collector-", dir=beside) as folder:
        yield Path(folder)


def wait_until_landed(spool: Path) -> None:
    """Wait until every segment of a spool has become landing files."""
    until = time.monotonic() + 30
    while any(find_segments(spool)):
        if time.monotonic() > until:
            raise RuntimeError(f"{spool} still has segments after 30 s")
        time.sleep(0.05)


Measured = Callable[[list[bytes]], Outcome]
"""What sends requests to a server that runs, and says how it did."""


@contextmanager
def collector(events_each: int = 1, pause: float = 0.0) -> Iterator[Measured]:
    """Run the collector, its files on a disk and not in memory."""
    with folder_on_disk() as folder:
        port = free_port()
        # a rate that nobody reaches is looked at all the same
        arguments = ["collect", "--port", str(port), "--rate", "1000000", str(pause)]
        with serving(COLLECTOR, arguments, port, folder) as pid:
            sending = partial(send, port, connections=CONNECTIONS, expected=ANSWER % events_each)
            landed = partial(wait_until_landed, folder / "spool")
            yield partial(measure, sending, pid, events_each=events_each, finished=landed)


@contextmanager
def flask(way: str) -> Iterator[Measured]:
    """Run Flask with an insert for each event."""
    # one thread: a connection of DuckDB is one thread's, and a file that is opened one process's
    code = FLASK.replace("SECRET", repr(SECRET.encode()))
    with folder_on_disk() as folder:
        port = free_port()
        arguments = [str(port), f"{folder}/events.duckdb", way]
        with serving(code, arguments, port, folder) as pid:
            yield partial(measure, partial(send_apart, port), pid)


def compare(events: int) -> dict[str, Outcome]:
    """Measure them all, in rounds; who waits for its turn does nothing."""
    found: dict[str, Outcome] = {}
    each = events // ROUNDS
    with ExitStack() as stack:
        start = stack.enter_context
        servers = {
            SINGLE: (start(collector()), signed_request, each),
            LINES: (start(collector(BATCH)), batch_request, each // 30),
            SLOWED: (start(collector(pause=0.005)), signed_request, each // 2),
            KEPT: (start(flask("keeps")), signed_request, each // 20),
            OPENED: (start(flask("opens")), signed_request, each // 100),
        }
        for turn in range(ROUNDS):
            for name, (measured, request, count) in servers.items():
                requests = [request(turn * count + number) for number in range(count)]
                outcome = measured(requests)
                found[name] = found[name] + outcome if name in found else outcome
    return found


def missed(found: dict[str, Outcome]) -> list[str]:
    """Say which targets were missed."""
    single = found[SINGLE]
    targets = [
        ("events/s", single.rate, 5_000),
        ("events/s in NDJSON", found[LINES].rate, 100_000),
        ("events/s with 5 ms more a sync", found[SLOWED].rate, 3_000),
        ("times less than a kept connection", found[KEPT].microseconds / single.microseconds, 20),
        ("times less than one opened", found[OPENED].microseconds / single.microseconds, 150),
    ]
    told = [
        f"{value:,.0f} {what}, wanted {least:,}" for what, value, least in targets if value < least
    ]
    if single.latency(0.99) > MOST_P99_MILLISECONDS:
        told.append(f"p99 {single.latency(0.99):.0f} ms, wanted {MOST_P99_MILLISECONDS}")
    return told


def main() -> None:
    """Measure them all in one run, print what came of it, and fail where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--events", type=int, default=100_000, help="for the collector")
    found = compare(parser.parse_args().events)
    own = found[SINGLE].microseconds
    print(
        f"{'':30} {'events/s':>10} {'µs CPU':>9} {'ratio':>7} {'p50 ms':>7} {'p99 ms':>7} "
        f"{'µs CPU of the sender':>21}"
    )
    for name, outcome in found.items():
        print(
            f"{name:30} {outcome.rate:10,.0f} {outcome.microseconds:9,.1f} "
            f"{outcome.microseconds / own:7.1f} {outcome.latency(0.5):7.1f} "
            f"{outcome.latency(0.99):7.1f} {outcome.sender_seconds / outcome.events * 1e6:21.1f}"
        )
    if told := missed(found):
        sys.exit("missed: " + "; ".join(told))


if __name__ == "__main__":
    main()
