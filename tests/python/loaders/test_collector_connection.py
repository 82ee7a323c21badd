"""HTTP/1.1 as the collector speaks it, byte by byte over real sockets."""

from __future__ import annotations

import json
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from collecting import COLLECT, KEY, RunningCollector, menu_event, running

from loaders.collector.connection import MAX_AT_ONCE, MAX_HEAD_BYTES
from loaders.landing import find_files
from loaders.limits import MAX_LINE_BYTES

MENU = "/v1/menu/events"
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
_ANSWER = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r]+\r\n((?:[^\r]+\r\n)*)\r\n")


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    with running(tmp_path_factory.mktemp("connections")) as collector:
        yield collector


@pytest.fixture
def client(collector: RunningCollector) -> Iterator[socket.socket]:
    with connected(collector) as client:
        yield client


def connected(collector: RunningCollector) -> socket.socket:
    return socket.create_connection(("127.0.0.1", collector.port), timeout=20)


def head(length: int | None, *lines: str, path: str = MENU, version: str = "1.1") -> bytes:
    """Return the head of a request that sends events."""
    all_lines = [f"POST {path} HTTP/{version}", "Host: x", f"Authorization: Bearer {KEY}", *lines]
    if length is not None:
        all_lines.append(f"Content-Length: {length}")
    return "\r\n".join([*all_lines, "", ""]).encode()


def request(number: int, *lines: str, path: str = MENU, version: str = "1.1") -> bytes:
    """Return a request that sends one event."""
    body = json.dumps(menu_event(number)).encode()
    return head(len(body), *lines, path=path, version=version) + body


def read_all(client: socket.socket) -> bytes:
    """Read until the collector hangs up."""
    parts = []
    while part := client.recv(65_536):
        parts.append(part)
    return b"".join(parts)


def read_one(client: socket.socket) -> tuple[int, bytes]:
    """Read one answer, and no byte more."""
    data = b""
    while not (match := _ANSWER.fullmatch(data)):
        data += client.recv(1) or pytest.fail(f"the collector has hung up after {data!r}")
    length = int((re.search(rb"content-length: (\d+)", match[2]) or [0, 0])[1])
    body = b""
    while len(body) < length:
        body += client.recv(length - len(body))
    return int(match[1]), body


def statuses(data: bytes) -> list[int]:
    """Return the statuses of answers that came one after another, whole and nothing else."""
    found, at = [], 0
    while at < len(data):
        match = _ANSWER.match(data, at)
        assert match, data[at : at + 200]
        found.append(int(match[1]))
        length = re.search(rb"content-length: (\d+)", match[2])
        at = match.end() + (int(length[1]) if length else 0)
    assert at == len(data)
    return found


def test_requests_in_one_go_are_answered_in_their_order(client: socket.socket) -> None:
    client.sendall(
        request(1)
        + HEALTH
        + request(2, path="/v1/menu/dishes")
        + head(1)
        + b"["
        + request(3)
        + HEALTH.replace(b"healthz", b"nothing")
        + request(4, "Connection: close")
        + HEALTH  # after the last one there is none
    )
    assert statuses(read_all(client)) == [200, 200, 404, 422, 200, 404, 200]


def test_more_in_one_go_than_may_wait(collector: RunningCollector) -> None:
    with connected(collector) as client:
        # more than MAX_AT_ONCE; the server could read most of it in one turn
        sent = b"".join(request(number) for number in range(4_000))
        thread = threading.Thread(target=client.sendall, args=(sent,))
        thread.start()
        assert [read_one(client)[0] for _ in range(4_000)] == [200] * 4_000
        thread.join()


@pytest.mark.parametrize("beyond", [0, 1, 500])
def test_no_more_of_one_read_are_taken_than_can_be_answered(tmp_path: Path, beyond: int) -> None:
    """Those within the limit are answered in order and land; the first beyond it is told to come
    again, nothing after it is taken, and somebody else is answered meanwhile."""
    taken = [request(1), HEALTH.replace(b"healthz", b"nothing"), request(2)]
    within = [taken[0]] + [HEALTH] * (MAX_AT_ONCE - 3) + taken[1:]
    with running(tmp_path) as collector, connected(collector) as many, connected(collector) as one:
        assert collector.process is not None
        for client in (many, one):  # both are known to it
            client.sendall(HEALTH)
            assert read_one(client)[0] == 200
        collector.process.send_signal(signal.SIGSTOP)  # so that all is there at its next read
        many.sendall(b"".join(within) + request(3) * beyond)
        one.sendall(request(4))
        collector.process.send_signal(signal.SIGCONT)
        assert read_one(one) == (200, b'{"accepted":1,"rejected":0}')
        if beyond:
            answered = statuses(read_all(many))
        else:
            answered = [read_one(many)[0] for _ in within]
            many.sendall(HEALTH)  # the connection goes on
            assert read_one(many)[0] == 200
        expected = [200] * (MAX_AT_ONCE - 2) + [404, 200]
        assert answered == expected + [429] * bool(beyond)
        assert collector.post(MENU, menu_event(5))[0] == 200
        collector.kill(signal.SIGTERM)
    landed = [
        json.loads(line)["event_id"]
        for file in find_files(tmp_path / "landing")
        for line in file.path.read_bytes().splitlines()
    ]
    assert sorted(landed) == ["menu-1", "menu-2", "menu-4", "menu-5"]


def test_who_never_reads_is_not_listened_to_for_ever(collector: RunningCollector) -> None:
    with connected(collector) as client, pytest.raises(OSError):
        client.settimeout(1)
        for _ in range(10_000):
            client.sendall(HEALTH * 5000)


def test_who_does_not_read_is_waited_for_and_costs_nobody_else(
    collector: RunningCollector,
) -> None:
    asked = HEALTH.replace(b"/healthz", b"/openapi.json")
    with connected(collector) as client:
        client.sendall(asked * 200)
        time.sleep(0.3)
        assert collector.get("/healthz")[0] == 200
        client.sendall(HEALTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert statuses(read_all(client)) == [200] * 201


def test_a_refused_request_leaves_the_connection_usable(client: socket.socket) -> None:
    for refused, status in (
        (request(1).replace(KEY.encode(), b"a-key-of-nobody"), 401),
        (request(1, path="/v1/menu/dishes"), 404),
        (request(1).replace(b"POST", b"PUT"), 405),
        (head(2) + b"{]", 422),
    ):
        client.sendall(refused)
        assert read_one(client)[0] == status
        client.sendall(request(2))
        assert read_one(client) == (200, b'{"accepted":1,"rejected":0}')


def test_a_request_byte_by_byte(client: socket.socket) -> None:
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in request(1):
        client.sendall(bytes([byte]))
    assert read_one(client)[0] == 200


def test_a_body_in_chunks(client: socket.socket) -> None:
    body = json.dumps(menu_event(1)).encode()
    chunks = b"".join(b"1;a=b\r\n%c\r\n" % byte for byte in body)
    # what comes after a body is no header of it
    end = b"0\r\nAuthorization: Bearer nobody\r\n\r\n"
    client.sendall(head(None, "Transfer-Encoding: chunked") + chunks + end)
    assert read_one(client)[0] == 200
    client.sendall(request(2))
    assert read_one(client)[0] == 200


def test_a_sender_that_asks_whether_to_go_on(client: socket.socket) -> None:
    body = json.dumps(menu_event(1)).encode()
    client.sendall(head(len(body), "Expect: 100-continue"))
    assert read_one(client) == (100, b"")
    client.sendall(body)
    assert read_one(client)[0] == 200
    client.sendall(head(MAX_LINE_BYTES + 1, "Expect: 100-continue"))
    assert statuses(read_all(client)) == [413]


def test_a_sender_that_asks_and_may_not_send(client: socket.socket) -> None:
    client.sendall(head(10, "Expect: 100-continue", path="/v1/menu/dishes"))
    assert statuses(read_all(client)) == [404]


def test_head_is_answered_without_a_body(client: socket.socket) -> None:
    client.sendall(HEALTH.replace(b"GET", b"HEAD") + HEALTH)
    data = b""
    while not data.endswith(b'{"status":"alive"}'):
        data += client.recv(65_536)
    refused, _, answered = data.partition(b"\r\n\r\n")
    assert refused.startswith(b"HTTP/1.1 405 ") and b"allow: GET, POST" in refused
    assert statuses(answered) == [200]


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(request(1, version="1.0"), id="HTTP/1.0"),
        pytest.param(request(1, "Connection: keep-alive", version="1.0"), id="1.0, kept"),
        pytest.param(request(1, "Connection: close"), id="the last"),
    ],
)
def test_the_last_request_ends_the_connection(client: socket.socket, sent: bytes) -> None:
    client.sendall(sent)
    answered = read_all(client)
    assert statuses(answered) == [200]
    assert b"connection: close\r\n" in answered


def test_who_has_nothing_more_to_say_is_still_answered(client: socket.socket) -> None:
    client.sendall(request(1) + request(2) + request(3)[:-1])
    client.shutdown(socket.SHUT_WR)
    assert statuses(read_all(client)) == [200, 200]


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(["Transfer-Encoding: chunked", "Content-Length: 5"], id="length and chunks"),
        pytest.param(["Content-Length: 5", "Transfer-Encoding: chunked"], id="chunks and length"),
        pytest.param(["Content-Length: 5", "Content-Length: 50"], id="two lengths"),
        pytest.param(["Content-Length: 5, 5"], id="a list of lengths"),
        pytest.param(["Content-Length: +5"], id="a signed length"),
        pytest.param(["Transfer-Encoding: xchunked"], id="unknown coding"),
        pytest.param(["Transfer-Encoding: chunked, identity"], id="not chunked at last"),
        pytest.param(["Transfer-Encoding : chunked"], id="a space before the colon"),
        pytest.param(["X: a", " Content-Length: 5"], id="a folded line"),
        pytest.param(["X: a\rContent-Length: 5"], id="a bare carriage return"),
        pytest.param(["X: a\0b"], id="a zero byte"),
    ],
)
def test_a_request_of_two_readings_is_refused(client: socket.socket, lines: list[str]) -> None:
    """Or a proxy before us could be made to see other requests than we do."""
    client.sendall(head(None, *lines) + b"0\r\n\r\n" + HEALTH)
    assert statuses(read_all(client)) == [400]


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(head(0, f"X: {'a' * MAX_HEAD_BYTES}"), id="a long header"),
        pytest.param(head(0, f"X: {'a' * MAX_HEAD_BYTES * 20}")[:-4], id="one without an end"),
        pytest.param(head(0, *["X: a"] * MAX_HEAD_BYTES), id="many headers"),
        pytest.param(head(0, path="/" + "a" * MAX_HEAD_BYTES), id="a long address"),
        pytest.param(
            head(None, "Transfer-Encoding: chunked") + b"0\r\n" + b"X: a\r\n" * MAX_HEAD_BYTES,
            id="many after the body",
        ),
    ],
)
def test_a_head_may_not_be_larger(client: socket.socket, sent: bytes) -> None:
    client.sendall(sent)
    assert statuses(read_all(client)) == [431]


def test_a_body_of_almost_nothing_but_frames(client: socket.socket) -> None:
    chunk = b"1;" + b"a" * 1000 + b"\r\n \r\n"
    client.sendall(head(None, "Transfer-Encoding: chunked") + chunk * (5 * 1024))
    assert statuses(read_all(client)) == [413]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(request(1, "Connection: Upgrade", "Upgrade: h2c"), 400, id="an upgrade"),
        pytest.param(b"CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n", 400, id="a tunnel"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, id="HTTP/2"),
        pytest.param(b"GET /healthz HTTP/2.0\r\nHost: x\r\n\r\n", 505, id="a later version"),
        pytest.param(b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n", 400, id="no address"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01", 400, id="TLS"),
    ],
)
def test_what_is_not_spoken_here(client: socket.socket, sent: bytes, status: int) -> None:
    client.sendall(sent)
    assert statuses(read_all(client)) == [status]


def test_a_whole_address_is_an_address(client: socket.socket) -> None:
    client.sendall(request(1, path=f"http://x{MENU.replace('menu', '%6denu')}?a=b"))
    assert read_one(client)[0] == 200


IMPATIENT = """
from loaders.collector import connection
connection.REQUEST_SECONDS, connection.KEEP_ALIVE_SECONDS, connection.LOOK_SECONDS = 1, 1.5, 0.1
"""


def test_nobody_holds_a_connection_for_ever(tmp_path: Path) -> None:
    with running(tmp_path, code=IMPATIENT + COLLECT) as collector:

        def slow(sent: bytes, pause: float) -> list[int]:
            with connected(collector) as client:
                found: list[bytes] = []
                thread = threading.Thread(target=lambda: found.append(read_all(client)))
                thread.start()
                for byte in sent:
                    try:
                        client.sendall(bytes([byte]))
                    except OSError:
                        break
                    time.sleep(pause)
                thread.join(10)
                return statuses(b"".join(found))

        started = time.monotonic()
        assert slow(request(1)[:30], 0.1) == [408]
        assert slow(head(100) + b"x" * 20, 0.03) == [408]
        assert slow(request(1), 0.0) == [200]  # then it idles
        assert slow(b"", 0.0) == []
        assert time.monotonic() - started < 30


def test_at_the_end_what_has_begun_is_answered(tmp_path: Path) -> None:
    with running(tmp_path) as collector, connected(collector) as busy, connected(collector) as idle:
        sent = request(1)
        idle.sendall(HEALTH)
        assert read_one(idle)[0] == 200
        busy.sendall(sent[:-10])
        time.sleep(0.1)
        assert collector.process is not None
        collector.process.send_signal(signal.SIGTERM)
        assert read_all(idle) == b""
        busy.sendall(sent[-10:])
        answered = read_all(busy)
        assert statuses(answered) == [200]
        assert b"connection: close\r\n" in answered
        collector.process.communicate(timeout=20)
        collector.hang_up()
        assert collector.process.returncode == 0


FAILING = """
from loaders.collector.app import Collector
take = Collector.take
def failing(self, expected, body, done):
    if b"fails" in body:
        raise ValueError("as the test wants it")
    take(self, expected, body, done)
Collector.take = failing
"""


def test_our_own_fault_is_said_to_be_ours(tmp_path: Path) -> None:
    with running(tmp_path, code=FAILING + COLLECT) as collector:
        with connected(collector) as client:
            client.sendall(request(1) + head(5) + b"fails" + request(2))
            assert statuses(read_all(client)) == [200, 500]
        assert collector.post(MENU, menu_event(3))[0] == 200
        assert "as the test wants it" in collector.kill(signal.SIGTERM)


BROKEN = """
from loaders.collector.connection import Connection
understand = Connection.understand
def broken(self, data):
    understand(self, data)
    if b"broken" in data:
        raise ValueError("as the test wants it")
Connection.understand = broken
"""


def test_our_own_fault_with_one_leaves_what_came_with_it_from_others(tmp_path: Path) -> None:
    with (
        running(tmp_path, code=BROKEN + COLLECT) as collector,
        connected(collector) as broken,
        connected(collector) as other,
    ):
        assert collector.process is not None
        for client in (broken, other):
            client.sendall(HEALTH)
            assert read_one(client)[0] == 200
        collector.process.send_signal(signal.SIGSTOP)  # so that both are there in one turn
        broken.sendall(head(6) + b"broken")
        other.sendall(request(1))
        collector.process.send_signal(signal.SIGCONT)
        assert read_one(other) == (200, b'{"accepted":1,"rejected":0}')
        with suppress(ConnectionResetError):
            assert read_all(broken) == b""
        assert "as the test wants it" in collector.kill(signal.SIGTERM)


def test_who_sends_and_goes_in_one_turn_has_sent(tmp_path: Path) -> None:
    with running(tmp_path) as collector:
        assert collector.process is not None
        with connected(collector) as client:
            client.sendall(HEALTH)
            assert read_one(client)[0] == 200
            collector.process.send_signal(signal.SIGSTOP)
            client.sendall(request(1))
        collector.process.send_signal(signal.SIGCONT)
        collector.kill(signal.SIGTERM)
    landed = b"".join(file.path.read_bytes() for file in find_files(tmp_path / "landing"))
    assert json.loads(landed)["event_id"] == "menu-1"
