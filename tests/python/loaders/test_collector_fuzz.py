"""No request makes the collector fail or hang: generated from its OpenAPI, and mutated bodies.

LARDER_FUZZ_SECONDS=600 lets it go on for ten minutes.
"""

from __future__ import annotations

import json
import os
import random
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from collecting import KEY, RunningCollector, menu_event, running, trip_event
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import negative_data_rejection

FUZZ_SECONDS = float(os.environ.get("LARDER_FUZZ_SECONDS", "4"))
IS_SHORT = FUZZ_SECONDS < 60
ANSWERED = {200, 400, 401, 404, 405, 408, 413, 422, 429, 431}


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    with running(tmp_path_factory.mktemp("fuzzed")) as collector:
        yield collector
        collector.hang_up()  # it may have been idle for too long
        assert collector.get("/readyz")[0] == 200
        assert "Traceback" not in collector.kill(15)


@pytest.fixture(autouse=True)
def fresh_connection(collector: RunningCollector) -> None:
    """Let each test begin with one: in the ten minutes of another it was closed as idle."""
    collector.hang_up()


@pytest.mark.parametrize("mode", list(GenerationMode), ids=str)
def test_requests_of_its_description(collector: RunningCollector, mode: GenerationMode) -> None:
    """Some that are as it says, and some that are not."""
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{collector.port}/openapi.json")
    operations = [one.ok() for one in schema.get_all_operations() if isinstance(one, Ok)]
    # where nothing is sent, nothing can be wrong
    chosen = [one for one in operations if mode.is_positive or one.body]
    assert len(chosen) > 15
    for operation in chosen:
        ask_for(operation, mode, time.monotonic() + FUZZ_SECONDS / len(chosen))


def ask_for(operation: Any, mode: GenerationMode, until: float) -> None:
    """Send requests of one kind until then, a few at least."""

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=4 if IS_SHORT else 50,
        deadline=None,
        database=None,
        derandomize=IS_SHORT,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Any) -> None:
        response = case.call(headers={"Authorization": f"Bearer {KEY}"}, timeout=20)
        assert response.status_code in ANSWERED
        # values are judged by the load: a record with all its fields is acknowledged
        case.validate_response(response, excluded_checks=[negative_data_rejection])

    ask()
    while time.monotonic() < until and not IS_SHORT:
        ask()


def test_any_bytes(collector: RunningCollector) -> None:
    until = time.monotonic() + FUZZ_SECONDS / 2

    @given(st.binary(max_size=3000), st.sampled_from(["/v1/menu/events", "/v1/trips/webhook"]))
    @settings(max_examples=60, deadline=None)
    def send(body: bytes, path: str) -> None:
        for content_type in ("application/json", "application/x-ndjson"):
            assert collector.post(path, body, {"Content-Type": content_type})[0] in ANSWERED

    send()
    while time.monotonic() < until and not IS_SHORT:
        send()


# as it may stand in an address: what is escaped or not, right or cut off
QUERY_PIECES = st.one_of(
    st.sampled_from(["key=", "key", "&", ";", "=", "%", "%c3%a9", "%C3", "%ff", "%00", "%zz", "+"]),
    st.binary(min_size=1, max_size=4).map(lambda octets: "".join(f"%{one:02x}" for one in octets)),
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#")),
)


@given(st.lists(QUERY_PIECES, max_size=8).map("".join))
@example("key=%C3%A9")
@example("key=%ff")
@settings(max_examples=100, deadline=None)
def test_any_query(collector: RunningCollector, query: str) -> None:
    status, _ = collector.post(f"/v1/menu/events?{query}", menu_event(1), key="")
    assert status == 401


@pytest.mark.parametrize("octet", [b"\xe9", b"\xff", b"\x80"])
def test_bytes_in_an_address_that_are_no_ascii(collector: RunningCollector, octet: bytes) -> None:
    with socket.create_connection(("127.0.0.1", collector.port), timeout=20) as client:
        client.sendall(
            b"POST /v1/menu/events?key=" + octet + b" HTTP/1.1\r\nHost: x\r\n"
            b"Content-Length: 2\r\nConnection: close\r\n\r\n{}"
        )
        assert client.recv(1000)[:13] in (b"HTTP/1.1 400 ", b"HTTP/1.1 401 ")


def test_mutated_bodies(collector: RunningCollector) -> None:
    chance = random.Random(11)
    seeds = [json.dumps(one).encode() for one in (menu_event(1), trip_event(1))]
    seeds.append(
        json.dumps({"events": [trip_event(2)["event"]] * 3, "user": {"_id": "d"}}).encode()
    )
    pieces = [
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b"\\u0000",
        b"\x00",
        b"\xff",
        b"1e999",
        b"-0",
        b",",
        b":",
    ]
    until = time.monotonic() + FUZZ_SECONDS / 2
    tries = 0
    while time.monotonic() < until:
        body = bytearray(chance.choice(seeds))
        for _ in range(chance.randint(1, 6)):
            at = chance.randrange(len(body) + 1)
            match chance.randrange(4):
                case 0:
                    body[at:at] = chance.choice(pieces) * chance.choice((1, 1, 1, 600))
                case 1:
                    del body[at : at + chance.randint(1, 20)]
                case 2 if at < len(body):
                    body[at] ^= 1 << chance.randrange(8)
                case _:
                    body += body[at : at + 50]
        for path in ("/v1/trips/webhook", "/v1/menu/events"):
            assert collector.post(path, bytes(body))[0] in ANSWERED
            tries += 1
    assert tries > 50


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"\x00" * 100, id="no HTTP"),
        pytest.param(b"GET / HTTP/9.9\r\n\r\n", id="no such version"),
        pytest.param(b"POST /v1/menu/events HTTP/1.1\r\nContent-Length: -1\r\n\r\n", id="negative"),
        pytest.param(b"POST /v1/menu/events HTTP/1.1\r\nContent-Length: x\r\n\r\n", id="no number"),
        pytest.param(b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n", id="a long path"),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20_000 + b"\r\n", id="many headers"),
    ],
)
def test_no_http(collector: RunningCollector, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", collector.port), timeout=20) as client:
        try:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
            answer = client.recv(1000)
        except ConnectionError:
            answer = b""
    assert b" 500 " not in answer
    assert collector.get("/healthz")[0] == 200
