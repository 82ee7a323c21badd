"""Streams of Singer taps and Airbyte sources: nothing is acknowledged that could be lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from faulty_s3 import Fault, S3Home
from landing_zone import Home, event, line, now

from larder.errors import LandingError
from larder.settings import PROJECT_ROOT
from loaders.dead_letters import dead_letters
from loaders.limits import MAX_LINE_BYTES
from loaders.singer import load_singer, target
from loaders.singer.messages import Record, State, place_of, read_message

STOCK = "fridge/stock_events"
SINGER = "import sys; sys.argv = ['larder', 'load', '--singer']; import larder.cli as c; c.main()"
SCHEMA = {"type": "SCHEMA", "stream": "fridge-stock_events", "schema": {}, "key_properties": []}


def record(number: int, stream: str = "fridge-stock_events", **changes: Any) -> dict[str, Any]:
    """Return a RECORD message of a stock event."""
    return {"type": "RECORD", "stream": stream, "record": event(number, **changes)}


def state(value: object) -> dict[str, Any]:
    """Return a STATE message."""
    return {"type": "STATE", "value": value}


def send(home: Home, *messages: object) -> tuple[list[str], list[str]]:
    """Let a stream come in; return the states that came back, and what was said."""
    states: list[str] = []
    said: list[str] = []
    reader, writer = os.pipe()

    def write() -> None:
        with os.fdopen(writer, "wb") as pipe:
            for message in messages:
                pipe.write(message if isinstance(message, bytes) else line(message))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        load_singer(home.settings, now, reader, states.append, said.append)
    finally:
        os.close(reader)
        thread.join()
    return states, said


def test_records_are_loaded_and_then_the_states_come_back(home: Home) -> None:
    states, said = send(
        home,
        SCHEMA,
        record(1, customer_id="C1"),
        state({"bookmark": 1}),
        record(2),
        {"type": "ACTIVATE_VERSION", "stream": "fridge-stock_events", "version": 1},
        state({"bookmark": 2.50}),
        record(3),
    )
    assert states == ['{"bookmark": 1}', '{"bookmark": 2.5}']
    assert home.keys() == ["e1", "e2", "e3"]
    assert len(said) == 1
    assert said[0].startswith(f"1 files loaded ({STOCK} 1), 3 records, 0 rejected")
    (landed,) = (home.settings.landing_folder / STOCK).iterdir()
    assert landed.name.startswith("singer-")
    assert landed.suffix == ".ndjson"
    assert list((home.settings.raw_folder / "_aside").iterdir()) == []


def test_the_same_stream_again_changes_nothing(home: Home) -> None:
    messages = [record(1), record(2), state(1)]
    assert send(home, *messages)[0] == ["1"]
    assert send(home, *messages)[0] == ["1"]
    assert len(list((home.settings.landing_folder / STOCK).iterdir())) == 1
    # in other pieces the records come again, as copies that no model counts twice
    send(home, record(2), record(3))
    hashes = home.query("select natural_key, count(distinct content_hash) from records group by 1")
    assert sorted(hashes) == [("e1", 1), ("e2", 1), ("e3", 1)]


@pytest.mark.parametrize("step", ["put", "load", "ledger"])
def test_no_state_comes_back_for_what_is_not_durable(
    home: Home, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    states: list[str] = []
    place = {
        "put": "loaders.zones.FolderZone.put",
        "load": "loaders.segments.commit",
        "ledger": "loaders.singer.target.Ledger",
    }[step]
    with monkeypatch.context() as patch:
        patch.setattr(place, die)
        reader, writer = os.pipe()
        os.write(writer, line(record(1)) + line(state(1)))
        os.close(writer)
        with pytest.raises(KeyboardInterrupt):
            load_singer(home.settings, now, reader, states.append, print)
        os.close(reader)
    assert states == []
    assert send(home, record(1), state(1))[0] == ["1"]
    assert home.keys() == ["e1"]
    landed = list((home.settings.landing_folder / STOCK).iterdir())
    assert [path.name.startswith("singer-") for path in landed] == [True]


def test_a_file_that_cannot_be_read_back_keeps_its_state(s3_home: S3Home) -> None:
    s3_home.s3.faults.append(Fault("GET", "ndjson?", 403, "AccessDenied"))
    with pytest.raises(LandingError, match="the state after them was not given back"):
        send(s3_home, record(1), state(1))
    s3_home.s3.faults.clear()
    assert send(s3_home, record(1), state(1))[0] == ["1"]
    assert s3_home.keys() == ["e1"]
    assert len(s3_home.names()) == 1


def test_a_long_stream_is_loaded_in_pieces(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "FLUSH_BYTES", 1000)
    messages = [one for number in range(30) for one in (record(number), state(number))]
    states, said = send(home, *messages)
    assert states == [str(number) for number in range(30)]
    assert 3 <= len(said) <= 10
    assert len(home.keys()) == 30


def test_a_stream_that_pauses_is_loaded_meanwhile(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "FLUSH_SECONDS", 0.2)
    states: list[str] = []
    reader, writer = os.pipe()
    thread = threading.Thread(
        target=load_singer, args=(home.settings, now, reader, states.append, lambda _: None)
    )
    thread.start()
    os.write(writer, line(record(1)) + line(state(1)))
    end = time.monotonic() + 20
    while not states and time.monotonic() < end:
        time.sleep(0.05)
    assert (states, home.keys()) == (["1"], ["e1"])
    os.close(writer)
    thread.join(20)
    os.close(reader)


def start(home: Home) -> subprocess.Popen[bytes]:
    variables = {
        "LARDER_HOME": str(home.settings.home),
        "LARDER_KEY_FILE": str(home.settings.key_file),
        "PYTHONPATH": str(PROJECT_ROOT),
    }
    return subprocess.Popen(
        [sys.executable, "-c", SINGER],
        env=os.environ | variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_standard_output_has_states_only(home: Home) -> None:
    out, err = start(home).communicate(line(record(1)) + line(state({"a": 1})), timeout=60)
    assert out == b'{"a": 1}\n'
    assert b"1 files loaded" in err


def test_a_killed_load_goes_on_from_the_last_state(home: Home) -> None:
    loader = start(home)
    assert loader.stdin is not None
    loader.stdin.write(b"".join(line(record(n)) + line(state(n)) for n in range(1000)))
    loader.stdin.flush()
    time.sleep(0.8)
    loader.send_signal(signal.SIGKILL)
    out, _ = loader.communicate()
    given_back = [int(one) for one in out.split()]
    later = range(given_back[-1] + 1 if given_back else 0, 1000)
    send(home, *(record(n) for n in later))
    assert len(set(home.keys())) == 1000


@pytest.mark.parametrize(
    ("stream", "place"),
    [
        ("fridge/stock_events", STOCK),
        ("fridge-stock_events", STOCK),
        ("fridge__stock_events", STOCK),
        ("fridge.stock_events", STOCK),
        ("Fridge-Stock_Events", STOCK),
        ("public-users", "unknown/public-users"),
        ("a/b", "unknown/a%2Fb"),
        ("..", "unknown/stream.."),
        ("_sdc", "unknown/stream_sdc"),
        ("x.tmp", "unknown/x.tmp_"),
        ("ä", "unknown/%C3%A4"),
        ("a\0b\nc", "unknown/a%00b%0Ac"),
    ],
)
def test_a_stream_has_its_place(stream: str, place: str) -> None:
    assert place_of(stream) == place


def test_a_long_name_of_a_stream_is_shortened_and_stays_its_own() -> None:
    places = {place_of("x" * 1000), place_of("x" * 1001)}
    assert len(places) == 2
    assert max(map(len, places)) < 200


def test_unknown_streams_are_kept_as_unknown_files_are(home: Home) -> None:
    states, _ = send(home, record(1, stream="public-users"), record(2), state(1))
    assert states == ["1"]
    assert home.keys(STOCK) == ["e2"]
    assert home.rejections("unknown/files") == [(1, "unknown_entity")]
    (landed,) = (home.settings.landing_folder / "unknown/public-users").iterdir()
    assert json.loads(landed.read_bytes()) == event(1)


def test_broken_lines_are_dead_letters_of_their_stream(home: Home) -> None:
    states, _ = send(
        home,
        b"hello\n",
        record(1),
        b'{"type": "RECORD", "stream": "catalog-items", "rec\n',
        b"\n",
        b"[1]\n",
        {"type": "RECORD", "stream": "fridge-stock_events", "record": 7},
        {"type": "RECORD", "stream": "fridge-stock_events"},
        {"type": "SOMETHING", "stream": "fridge-stock_events"},
        {"type": "STATE"},
        b'{"type": "RECORD", "stream": "fridge-stock_events", "record": {"x": NaN}}\n',
        b"\xff\n",
        state(1),
    )
    assert states == ["1"]
    assert home.keys(STOCK) == ["e1"]
    assert [reason for _, reason in home.rejections("catalog/items")] == [
        "broken_json",
        "not_an_object",
    ]
    letters = list(dead_letters(home.settings, STOCK))
    assert [letter.reason for letter in letters if letter.reason != "broken_json"] == [
        *["missing_key"] * 5,
        "invalid_utf8",
    ]
    assert home.rejections("unknown/files") == [(1, "unknown_entity")]


def test_a_message_without_end_takes_no_memory_and_the_next_is_read(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "LONGEST_MESSAGE", 2 * MAX_LINE_BYTES)
    endless = b'{"type": "RECORD", "stream": "fridge-stock_events", "record": {"x": "'
    long = record(2, note="x" * MAX_LINE_BYTES)
    send(home, record(1), endless + b"x" * (6 * MAX_LINE_BYTES) + b"\n", long, record(3))
    assert home.keys() == ["e1", "e3"]
    assert [reason for _, reason in home.rejections()] == ["line_too_long"] * 2


def test_what_names_files_instead_of_records_is_refused_before_any_later_state(
    home: Home,
) -> None:
    batch = {"type": "BATCH", "stream": "fridge-stock_events", "manifest": ["file:///x"]}
    with pytest.raises(LandingError, match="BATCH"):
        send(home, record(1), batch, state(1))
    assert list((home.settings.raw_folder / "_aside").iterdir()) == []


def test_a_reader_of_states_that_has_gone_is_said(home: Home) -> None:
    def give_back(_: str) -> None:
        raise BrokenPipeError

    reader, writer = os.pipe()
    os.write(writer, line(record(1)) + line(state(1)))
    os.close(writer)
    with pytest.raises(LandingError, match="cannot be given back"):
        load_singer(home.settings, now, reader, give_back, print)
    os.close(reader)
    assert home.keys() == ["e1"]


MESSAGES: dict[str, tuple[object, object]] = {
    "Airbyte's record": (
        {"type": "RECORD", "record": {"stream": "fridge__stock_events", "data": {"a": 1.10}}},
        Record("fridge__stock_events", b'{"a": 1.1}'),
    ),
    "Airbyte's namespace": (
        {"type": "RECORD", "record": {"namespace": "fridge", "stream": "x", "data": {}}},
        Record("fridge/x", b"{}"),
    ),
    "Airbyte's state": (
        {"type": "STATE", "state": {"type": "STREAM"}},
        State('{"type": "STATE", "state": {"type": "STREAM"}}'),
    ),
    "Airbyte's log": ({"type": "LOG", "log": {"level": "INFO"}}, None),
    "schema": (SCHEMA, None),
}


@pytest.mark.parametrize(("message", "read"), MESSAGES.values(), ids=MESSAGES)
def test_each_message_is_what_its_protocol_says(message: object, read: object) -> None:
    assert read_message(line(message).rstrip()) == read


def test_no_digit_of_a_number_is_lost() -> None:
    text = b'{"type": "RECORD", "stream": "s", "record": {"a": 0.1000000000000000000001}}'
    assert read_message(text) == Record("s", b'{"a": 0.1000000000000000000001}')


def test_a_stream_is_landed_in_s3_too(s3_home: S3Home) -> None:
    for _ in range(2):
        assert send(s3_home, record(1), state(1))[0] == ["1"]
    assert (s3_home.keys(), len(s3_home.names())) == (["e1"], 1)
