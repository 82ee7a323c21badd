"""The collector over real HTTP: who may send, what is answered, and that it lands."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from collecting import COLLECT, RunningCollector, menu_event, running, signed, trip_event
from landing_zone import ARRIVED
from warehouse_homes import settings_of

from larder.settings import Settings
from loaders.landing import find_files
from loaders.limits import MAX_LINE_BYTES
from loaders.load import load

MENU, WEBHOOK = "/v1/menu/events", "/v1/trips/webhook"
MENU_KEY = "a-key-for-menus-only"


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    keys = {"LARDER_API_KEYS": f"a-key-for-everything:*, {MENU_KEY}:menu"}
    with running(tmp_path_factory.mktemp("collector"), environment=keys) as collector:
        yield collector


def landed(home: Path, entity: str) -> list[bytes]:
    """Return the lines that have landed of an entity."""
    files = [file for file in find_files(home / "landing") if file.relative.startswith(entity)]
    return [line for file in files for line in file.path.read_bytes().splitlines()]


def wait_for(home: Path, entity: str, needle: bytes, seconds: float = 5.0) -> None:
    """Wait until something has landed; five seconds are promised."""
    until = time.monotonic() + seconds
    while not any(needle in line for line in landed(home, entity)):
        assert time.monotonic() < until, f"{needle!r} has not landed after {seconds} s"
        time.sleep(0.05)


def test_what_is_accepted_lands_within_five_seconds(collector: RunningCollector) -> None:
    assert collector.post(MENU, menu_event(1)) == (200, {"accepted": 1, "rejected": 0})
    wait_for(collector.home, "menu/menu_events/process_hour=", b'"menu-1"')


def test_a_landing_file_is_held_open_as_long_as_is_set(tmp_path: Path) -> None:
    held = {"LARDER_COLLECTOR_HOLD_SECONDS": "7"}
    with running(tmp_path, environment=held) as collector:
        began = time.monotonic()
        for number in range(6):  # more than two seconds apart from first to last
            assert collector.post(MENU, menu_event(number))[0] == 200
            time.sleep(0.9)
        assert landed(tmp_path, "menu/") == []
        wait_for(tmp_path, "menu/menu_events/process_hour=", b'"menu-5"', seconds=12.0)
        assert time.monotonic() - began >= 7.0
    (file,) = find_files(tmp_path / "landing")
    assert len(file.path.read_bytes().splitlines()) == 6


def test_by_default_a_landing_file_closes_in_time_for_the_five_seconds() -> None:
    assert Settings.model_fields["collector_hold_seconds"].default <= 4


def test_any_entity_is_taken_and_what_is_unusable_lands_for_the_dead_letters(
    collector: RunningCollector,
) -> None:
    item = {"item_id": "a", "price_usd": 2}
    assert collector.post("/v1/catalog/items", item) == (422, {"accepted": 0, "rejected": 1})
    lines = collector.post_lines(MENU, menu_event(2), b"{broken", menu_event(3))
    assert lines == (200, {"accepted": 2, "rejected": 1})
    wait_for(collector.home, "menu/menu_events", b"{broken")
    wait_for(collector.home, "catalog/items", b'"price_usd"')
    settings = settings_of(collector.home)
    assert load(settings, lambda: ARRIVED).entities["catalog/items"].rejected == 1


def test_a_signature_is_enough_for_the_webhook_alone(collector: RunningCollector) -> None:
    assert collector.post(WEBHOOK, trip_event(1), signed("one"))[0] == 200
    assert collector.post(MENU, menu_event(4), signed("two"))[0] == 401


def test_a_signing_id_belongs_to_the_first_body(collector: RunningCollector) -> None:
    first = collector.post(WEBHOOK, trip_event(2), signed("bound"))
    assert (
        collector.post(WEBHOOK, trip_event(2), signed("bound"))
        == first
        == (
            200,
            {"accepted": 1, "rejected": 0},
        )
    )
    status, answer = collector.post(WEBHOOK, trip_event(3), signed("bound"))
    assert status == 401
    assert "another body" in answer["error"]
    wait_for(collector.home, "trips/trip_events", b"trip-event-2")
    assert not any(b"trip-event-3" in line for line in landed(collector.home, "trips/"))


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(signed("x") | {"X-Radar-Signature": "0" * 40}, id="wrong"),
        pytest.param(signed("x") | {"X-Radar-Signing-Id": "y"}, id="of another id"),
        pytest.param({"X-Radar-Signing-Id": "", "X-Radar-Signature": "x"}, id="empty"),
        pytest.param({"X-Radar-Signature": "é"}, id="no ASCII"),
    ],
)
def test_a_wrong_signature_is_refused(collector: RunningCollector, headers: dict[str, str]) -> None:
    assert collector.post(WEBHOOK, trip_event(4), headers)[0] == 401


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [
        pytest.param(MENU, MENU_KEY, 200, id="in its scope"),
        pytest.param("/v1/catalog/items", MENU_KEY, 401, id="not in its scope"),
        pytest.param(WEBHOOK, MENU_KEY, 401, id="the webhook neither"),
        pytest.param(MENU, "a-key-of-nobody-at-all", 401, id="unknown"),
        pytest.param(MENU, "", 401, id="none"),
        pytest.param("/v1/menu/dishes", MENU_KEY, 404, id="no entity"),
        pytest.param("/", MENU_KEY, 404, id="no path"),
    ],
)
def test_a_key_opens_its_scopes(
    collector: RunningCollector, path: str, key: str, status: int
) -> None:
    assert collector.post(path, menu_event(5), key=key)[0] == status


@pytest.fixture(scope="module")
def open_collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    nothing = {"LARDER_API_KEYS": "", "LARDER_RADAR_SECRET": ""}
    with running(tmp_path_factory.mktemp("open"), environment=nothing) as collector:
        yield collector


@pytest.mark.parametrize(
    ("host", "status"),
    [
        pytest.param("localhost:8470", 200, id="its name"),
        pytest.param("127.0.0.1:8470", 200, id="its address"),
        pytest.param("127.9.9.9", 200, id="another address of it"),
        pytest.param("[::1]:8470", 200, id="its newer address"),
        pytest.param("evil.example:8470", 403, id="a name that leads here"),
        pytest.param("localhost.evil.example", 403, id="a name that begins like it"),
        pytest.param("192.168.0.7:8470", 403, id="another machine"),
    ],
)
def test_without_keys_only_pages_of_this_machine_may_send(
    open_collector: RunningCollector, host: str, status: int
) -> None:
    page = {"Origin": f"http://{host}", "Host": host}
    assert open_collector.post(MENU, menu_event(1), page)[0] == status
    assert open_collector.post(MENU, menu_event(1), {"Host": host})[0] == 200  # no page


def test_with_keys_a_page_under_any_name_of_the_collector_may_send(
    collector: RunningCollector,
) -> None:
    page = {"Origin": "https://menus.example", "Host": "menus.example"}
    assert collector.post(MENU, menu_event(1), page)[0] == 200


def test_limits_are_told(collector: RunningCollector) -> None:
    assert collector.post(MENU, b"x" * (MAX_LINE_BYTES + 1))[0] == 413
    collector.hang_up()
    assert collector.post(MENU, b" ")[0] == 422
    assert collector.get("/nothing")[0] == 404
    assert collector._ask("PUT", MENU, b"{}", {})[0] == 405


def test_a_body_without_a_length_may_not_be_longer_either(collector: RunningCollector) -> None:
    with socket.create_connection(("127.0.0.1", collector.port), timeout=30) as client:
        client.sendall(
            b"POST /v1/menu/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
            b"a-key-for-everything\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        answer = b""
        try:
            for _ in range(40):
                client.sendall(chunk)
        except OSError:
            pass
        answer = client.recv(1000)
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_metrics_and_health(collector: RunningCollector) -> None:
    before = collector.get("/metrics")[1]["text"]
    collector.post(MENU, menu_event(6))
    after = collector.get("/metrics")[1]["text"]
    name = 'larder_collector_accepted_records_total{entity="menu/menu_events"}'

    def value(text: str) -> float:
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))

    assert value(after) == value(before) + 1
    assert "larder_collector_commit_seconds_bucket" in after
    assert collector.get("/healthz")[0] == collector.get("/readyz")[0] == 200


def test_the_log_holds_no_body_and_no_key(tmp_path: Path) -> None:
    with running(tmp_path) as collector:
        collector.post(MENU, menu_event(7, section="something-secret"))
        collector.post(MENU, b"{something-secret")
        collector.post(MENU, menu_event(8), key="a-key-of-nobody-at-all")
        said = collector.kill(signal.SIGTERM)
    written = (tmp_path / "logs" / "collector.log").read_text(encoding="utf-8")
    for text in (said, written):
        lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        assert {"listening", "ended"} <= {line["what"] for line in lines}
        assert not any("color" in name for line in lines for name in line)
        assert "secret" not in text and "a-key" not in text and "visitor-" not in text


def test_sigterm_drains(tmp_path: Path) -> None:
    with running(tmp_path) as collector:
        collector.post(MENU, menu_event(9))
        collector.kill(signal.SIGTERM)
        assert collector.process is not None
        assert collector.process.returncode == 0
    # it has landed, without waiting for anything
    assert any(b'"menu-9"' in line for line in landed(tmp_path, "menu/menu_events"))
    assert not list((tmp_path / "spool").glob("*.spool"))


def test_a_sender_may_not_send_more_than_its_rate(tmp_path: Path) -> None:
    with running(tmp_path, "--rate", "5") as collector:
        statuses = [collector.post(MENU, menu_event(number))[0] for number in range(30)]
    assert statuses[:10] == [200] * 10
    assert 429 in statuses


@pytest.mark.parametrize(
    ("options", "environment", "exit_code", "words"),
    [
        pytest.param(["--host", "::"], {}, 2, "LARDER_API_KEYS", id="open to everybody"),
        pytest.param([], {"LARDER_API_KEYS": "short:*"}, 2, "at least 16", id="a short key"),
        pytest.param(
            [],
            {"LARDER_API_KEYS": "a-key-that-is-secret:menu+trip"},
            2,
            "entry 1 has the scope trip, and there is no such source. Choose of accounts",
            id="a scope of nothing",
        ),
        pytest.param(
            [],
            {"LARDER_API_KEYS": "a-key-that-is-secret:menu, a-key-that-is-secret:trips"},
            2,
            "entry 2 has a key that an entry before it has",
            id="a key twice",
        ),
        pytest.param(["--certificate", "none.pem"], {}, 2, "none.pem", id="no certificate"),
        *(
            pytest.param(
                [],
                {"LARDER_COLLECTOR_HOLD_SECONDS": held},
                2,
                f"LARDER_COLLECTOR_HOLD_SECONDS: Input should be {words}",
                id=f"held for {held}",
            )
            for held, words in (
                ("0", "greater than or equal to 0.1"),
                ("901", "less than or equal to 900"),
                ("long", "a valid number"),
            )
        ),
    ],
)
def test_what_it_cannot_start_with(
    tmp_path: Path, options: list[str], environment: dict[str, str], exit_code: int, words: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", COLLECT, "collect", "--port", "0", *options],
        env={**os.environ, "LARDER_HOME": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = " ".join(ended.stderr.split())
    assert (ended.returncode, words in said) == (exit_code, True), ended.stderr
    assert "Traceback" not in said
    assert "a-key-that-is-secret" not in said


def test_a_port_that_is_taken(tmp_path: Path, collector: RunningCollector) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", COLLECT, "collect", "--port", str(collector.port)],
        env={**os.environ, "LARDER_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert "another --port" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_spool_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "spool").touch()
    ended = subprocess.run(
        [sys.executable, "-c", COLLECT, "collect", "--port", "0"],
        env={**os.environ, "LARDER_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert "cannot be opened" in ended.stderr
    assert "Traceback" not in ended.stderr
