"""From the outbox to a real Kinesis endpoint: at least once, in order, whatever fails."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from collecting import running, signed
from hypothesis import given, settings
from hypothesis import strategies as st
from kinesis_stream import FaultyKinesis, Stream, bus_home, kinesis_endpoint, land, trip_event
from landing_zone import Home, now

from larder.errors import BusError
from larder.settings import PROJECT_ROOT
from loaders.bus import Publisher, publishing, read_backlog, sending
from loaders.bus.buses import Limits, Record
from loaders.bus.filling import fill
from loaders.bus.kinesis import MEBIBYTE
from loaders.bus.messages import Message
from loaders.bus.outbox import begin_outbox, bus_lock, open_outbox
from loaders.bus.sending import LONGEST_PAUSE_SECONDS, Sender

LOAD = "import sys; sys.argv = ['larder', 'load']; import larder.cli as c; c.main()"
FOLLOW = "import sys; sys.argv = ['larder', 'load', '--follow']; import larder.cli as c; c.main()"
SECONDS = 60.0
# ten seconds are promised on a quiet computer; tests share theirs
BUSY = 3


@pytest.fixture(scope="module")
def endpoint() -> Iterator[FaultyKinesis]:
    with kinesis_endpoint() as served:
        yield served


@pytest.fixture
def stream(endpoint: FaultyKinesis) -> Iterator[Stream]:
    """A new stream on an endpoint that is well again afterwards."""
    yield Stream(endpoint).make()
    endpoint.refuse, endpoint.error = None, ""
    endpoint.requests.clear()
    if endpoint.server is None:
        endpoint.start()


@pytest.fixture
def home(tmp_path: Path, stream: Stream) -> Home:
    return bus_home(tmp_path, stream)


def publish(home: Home) -> publishing.BusSummary:
    """Load what has landed, and publish it as a command does."""
    publisher = Publisher(home.settings, now)
    home.load()
    publisher.publish()
    return publisher.close()


def in_order(stream: Stream) -> dict[str, list[str]]:
    """Return the events of each trip, each where it came first."""
    trips: dict[str, list[str]] = defaultdict(list)
    for record in stream.records():
        if record["event_id"] not in trips[record["trip_id"]]:
            trips[record["trip_id"]].append(record["event_id"])
    return dict(trips)


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait for it, not for ever."""
    end = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < end, "it has not come to pass"
        time.sleep(0.05)


def test_a_load_puts_the_events_on_the_stream_a_trip_in_one_shard(
    home: Home, stream: Stream
) -> None:
    land(home, "a", *(trip_event(number, trip=number % 3) for number in range(60)))
    summary = publish(home)
    assert (summary.sent, summary.waiting, summary.failure) == (60, 0, None)
    expected = {f"trip-{trip}": [f"t{n}" for n in range(trip, 60, 3)] for trip in range(3)}
    assert in_order(stream) == expected
    records = stream.records()
    assert len(records) == 60
    assert {len(record["driver_key"]) for record in records} == {32}
    assert len({(record["key"], record["trip_id"]) for record in records}) == 3
    # never two of a trip in one request, whose records Kinesis takes in any order
    requests = stream.endpoint.requests
    assert all(len(set(keys)) == len(keys) for keys in requests)


def test_no_id_of_a_driver_is_on_the_stream(home: Home, stream: Stream) -> None:
    land(home, "a", *(trip_event(number, trip=f"{number}x") for number in range(20)))
    publish(home)
    text = json.dumps(stream.records())
    assert len(stream.records()) == 20
    assert "driver-of" not in text


def test_a_bus_that_is_down_delays_no_load_and_gets_everything_later(
    home: Home, stream: Stream, endpoint: FaultyKinesis
) -> None:
    land(home, "a", trip_event(1), trip_event(2))
    publish(home)
    endpoint.stop()
    for number in range(3, 6):
        land(home, str(number), trip_event(number))
        started = time.monotonic()
        summary = publish(home)
        assert time.monotonic() - started < 10
        assert summary.sent == 0
        assert summary.failure is not None
        for part in (stream.name, "LARDER_BUS", "cannot be reached", "AWS_ENDPOINT_URL"):
            assert part in summary.failure
    backlog = read_backlog(home.settings)
    assert backlog.waiting == 3
    assert backlog.oldest_waiting_at == now()
    assert backlog.failures >= 3
    assert backlog.failure == summary.failure

    endpoint.start()
    assert publish(home).sent == 3
    assert in_order(stream) == {"trip-1": ["t1", "t2", "t3", "t4", "t5"]}
    backlog = read_backlog(home.settings)
    assert (backlog.waiting, backlog.sent, backlog.failure) == (0, 5, None)
    assert backlog.oldest_waiting_at is None


def test_what_stays_says_once_that_the_bus_is_down_and_once_that_it_is_back(
    home: Home, stream: Stream, endpoint: FaultyKinesis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "LONGEST_PAUSE_SECONDS", 0.2)
    said: list[str] = []
    endpoint.stop()
    publisher = Publisher(home.settings, now, said.append)
    for number in range(4):
        land(home, str(number), trip_event(number))
        home.load()
        publisher.publish()
        time.sleep(0.1)
    wait_until(lambda: read_backlog(home.settings).failures >= 3)
    endpoint.start()
    wait_until(lambda: read_backlog(home.settings).sent == 4)
    publisher.close()
    assert len(said) == 2
    assert "cannot be reached" in said[0]
    assert "nothing is lost" in said[0]
    assert said[1] == "The bus takes messages again."
    assert stream.events() == ["t0", "t1", "t2", "t3"]


def test_a_bug_of_what_sends_is_no_failure_of_the_bus_and_ends_the_next_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Sender) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Sender, "send", broken)
    publisher = Publisher(bus_home(tmp_path).settings, now)
    wait_until(lambda: not publisher._thread.is_alive())
    with pytest.raises(ZeroDivisionError, match="a bug"):
        publisher.publish()
    with pytest.raises(ZeroDivisionError, match="a bug"):
        publisher.close()


@pytest.mark.parametrize(
    ("code", "parts"),
    [
        ("ExpiredTokenException", ("have expired", "aws sso login")),
        ("UnrecognizedClientException", ("not accepted", "AWS_ACCESS_KEY_ID")),
        ("AccessDeniedException", ("not allowed", "kinesis:PutRecords")),
        ("ResourceNotFoundException", ("none of that name", "LARDER_BUS (kinesis://stream)")),
        ("ProvisionedThroughputExceededException", ("too many requests",)),
        ("InternalFailure", ("the service failed",)),
    ],
)
def test_a_refusal_is_one_line_with_its_remedy_and_loses_nothing(
    home: Home, stream: Stream, endpoint: FaultyKinesis, code: str, parts: Sequence[str]
) -> None:
    land(home, "a", trip_event(1))
    endpoint.error = code
    summary = publish(home)
    assert (summary.sent, summary.waiting) == (0, 1)
    assert summary.failure is not None
    assert "\n" not in summary.failure
    for part in (stream.name, code, *parts):
        assert part in summary.failure
    assert len(endpoint.requests) == publishing.LAST_TRIES  # the SDK itself tries no second time
    endpoint.error = ""
    assert publish(home).sent == 1
    assert stream.events() == ["t1"]


def test_a_stream_that_is_not_there_and_no_region_are_told(
    home: Home, stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(home, "a", trip_event(1))
    right = home.settings
    home.settings = right.model_copy(update={"bus": "kinesis://no-such-stream"})
    summary = publish(home)
    assert "none of that name" in str(summary.failure)
    home.settings = right
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    assert "Set AWS_REGION" in str(publish(home).failure)
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    assert publish(home).sent == 1
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")  # for the reader of this test
    assert stream.events() == ["t1"]


def test_records_that_are_throttled_hold_back_their_trip_only(
    home: Home, stream: Stream, endpoint: FaultyKinesis
) -> None:
    chance = random.Random(4)
    endpoint.refuse = lambda _: chance.random() < 0.3
    land(home, "a", *(trip_event(number, trip=number % 20) for number in range(200)))
    publish(home)  # fills the outbox; how much is taken at once is left to chance
    while read_backlog(home.settings).waiting:
        publish(home)
    assert read_backlog(home.settings).failures > 20
    for trip, events in in_order(stream).items():
        first = int(trip.removeprefix("trip-"))
        assert events == [f"t{number}" for number in range(first, 200, 20)]
    assert len(stream.records()) == 200  # what was taken is not sent again


@dataclass
class UnreliableBus:
    """Take or refuse records as chance has it; sometimes take them and say that it has not."""

    chance: random.Random
    share: float
    limits: Limits = field(default_factory=lambda: Limits(4, 400, 120))
    taken: list[Record] = field(default_factory=list)

    def put(self, records: Sequence[Record]) -> list[str | None]:
        assert len({one.partition_key for one in records}) == len(records) <= self.limits.records
        assert sum(one.size for one in records) <= self.limits.request_bytes
        if self.chance.random() < self.share / 2:
            if self.chance.random() < 0.5:
                self.taken += records
            raise BusError("nothing was answered")
        shuffled = self.chance.sample(list(records), len(records))  # as Kinesis may take them
        taken = [one for one in shuffled if self.chance.random() >= self.share]
        self.taken += taken
        return [None if one in taken else "Throttled" for one in records]


EVENTS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 20), st.integers(0, 120)), min_size=1, max_size=40
)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.lists(EVENTS, min_size=1, max_size=4), st.floats(0, 0.7), st.integers(0, 2**32))
def test_order_by_trip_under_any_failures(
    fillings: list[list[tuple[int, int, int]]], share: float, seed: int
) -> None:
    chance = random.Random(seed)
    bus = UnreliableBus(chance, share)
    clock, number = [0.0], 0
    with TemporaryDirectory() as folder:
        home = bus_home(Path(folder))
        begin_outbox(home.settings)
        sender = Sender(home.settings, now, lambda: clock[0], chance)
        sender._bus = bus
        expected: dict[str, list[bytes]] = defaultdict(list)
        aside: set[bytes] = set()
        for events in fillings:
            messages = []
            for trip, moment, size in events:
                body = f"{number:06d}".encode() + b"x" * size
                messages.append(Message(f"e{number}", f"{trip:x}", moment, None, body))
                number += 1
                if size + 7 > bus.limits.record_bytes:
                    aside.add(body)
            with open_outbox(home.settings) as outbox, outbox.transaction():
                assert outbox.queue(messages, now()) == len(messages)
            for one in sorted(messages, key=lambda one: one.occurred_at):
                if one.body not in aside:
                    expected[one.partition_key].append(one.body)
            for _ in range(10_000):
                done = sender.send()
                if done.next_seconds is None:
                    break
                assert 0 <= done.next_seconds <= LONGEST_PAUSE_SECONDS
                clock[0] += done.next_seconds
                if chance.random() < 0.1:  # another process goes on
                    sender = Sender(home.settings, now, lambda: clock[0], chance)
                    sender._bus = bus
            backlog = read_backlog(home.settings)
            assert (backlog.waiting, backlog.set_aside) == (0, len(aside))
        found: dict[str, list[bytes]] = defaultdict(list)
        for record in bus.taken:
            if record.body not in found[record.partition_key]:
                found[record.partition_key].append(record.body)
        assert found == expected


def test_what_waits_together_goes_in_the_order_in_which_it_happened_and_what_is_late_after(
    home: Home, stream: Stream, endpoint: FaultyKinesis
) -> None:
    endpoint.error = "InternalFailure"
    for number in (5, 3, 4):
        land(home, str(number), trip_event(number))
        publish(home)
    endpoint.error = ""
    publish(home)
    land(home, "late", trip_event(1), trip_event(6))
    publish(home)
    assert in_order(stream) == {"trip-1": ["t3", "t4", "t5", "t1", "t6"]}


def test_a_message_that_is_too_large_is_set_aside_and_holds_up_nobody(
    home: Home, stream: Stream
) -> None:
    begin_outbox(home.settings)
    with open_outbox(home.settings) as outbox, outbox.transaction():
        outbox.queue(
            [
                Message("e1", "a", 1, "d", json.dumps({"event_id": "e1"}).encode()),
                Message("e2", "a", 2, "d", b"x" * MEBIBYTE),
                Message("e3", "a", 3, "d", json.dumps({"event_id": "e3"}).encode()),
            ],
            now(),
        )
    summary = publish(home)
    assert (summary.sent, summary.set_aside, summary.waiting) == (2, 1, 0)
    assert stream.events() == ["e1", "e3"]
    assert read_backlog(home.settings).set_aside == 1
    assert publish(home).set_aside == 0


def test_a_large_backlog_goes_in_requests_that_kinesis_takes(
    home: Home, stream: Stream, endpoint: FaultyKinesis
) -> None:
    begin_outbox(home.settings)
    with open_outbox(home.settings) as outbox, outbox.transaction():
        for number in range(1200):
            size = 900_000 if number < 12 else 100
            body = json.dumps({"event_id": f"e{number}", "pad": "x" * size}).encode()
            outbox.queue([Message(f"e{number}", f"{number:032x}", number, None, body)], now())
    assert publish(home).sent == 1200
    assert len(stream.records()) == 1200
    assert max(map(len, endpoint.requests)) == 500
    assert len(endpoint.requests) == 5  # 5 and 5 large ones, 2 and 498 others, 500, 190


def test_a_process_that_is_killed_after_the_bus_took_it_repeats_and_loses_nothing(
    home: Home, stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(home, "a", *(trip_event(number, trip=number % 2) for number in range(6)))
    home.load()
    fill(home.settings, now)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sending.Sender, "_taken", killed)
        with pytest.raises(KeyboardInterrupt):
            Sender(home.settings, now).send()
    assert publish(home).sent == 6
    assert len(stream.records()) == 8  # the first of both trips came twice
    assert in_order(stream) == {"trip-0": ["t0", "t2", "t4"], "trip-1": ["t1", "t3", "t5"]}


def test_loads_that_are_killed_while_they_send_lose_nothing(
    home: Home, stream: Stream, endpoint: FaultyKinesis
) -> None:
    chance = random.Random(11)
    environment = {
        **os.environ,
        "LARDER_HOME": str(home.settings.home),
        "LARDER_KEY_FILE": str(home.settings.key_file),
        "LARDER_BUS": str(home.settings.bus),
    }
    count = 0
    for number in range(3):
        events = [trip_event(count + one, trip=(count + one) % 9) for one in range(60)]
        land(home, f"{number:02d}", *events)
        count += len(events)
        until = len(endpoint.requests) + chance.randint(1, 6)
        process = subprocess.Popen(
            [sys.executable, "-c", LOAD], env=environment, stdout=subprocess.DEVNULL
        )
        while len(endpoint.requests) < until and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert read_backlog(home.settings).waiting > 0
    subprocess.run([sys.executable, "-c", LOAD], env=environment, check=True, timeout=SECONDS)
    trips = in_order(stream)
    assert sorted(one for events in trips.values() for one in events) == sorted(
        f"t{number}" for number in range(count)
    )
    for events in trips.values():
        assert events == sorted(events, key=lambda one: int(one[1:]))


def test_a_webhook_is_on_the_stream_in_seconds(home: Home, stream: Stream) -> None:
    environment = {
        "LARDER_HOME": str(home.settings.home),
        "LARDER_KEY_FILE": str(home.settings.key_file),
        "LARDER_BUS": str(home.settings.bus),
    }
    process = subprocess.Popen(
        [sys.executable, "-c", FOLLOW],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert "following" in process.stdout.readline()
        with running(home.settings.home, environment=environment) as collector:
            body = trip_event(7, geofence={"_id": "fridge-1"})
            assert collector.post("/v1/trips/webhook", body, signed("a"))[0] == 200
            started = time.monotonic()
            wait_until(lambda: stream.events() == ["t7"])
            taken = time.monotonic() - started
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=SECONDS)
    (record,) = stream.records()
    assert record["geofence_id"] == "fridge-1"
    assert taken < 10 * BUSY, f"{taken:.1f} s"


def test_the_consumer_of_the_documentation_reads_each_event_once(
    home: Home, stream: Stream, capsys: pytest.CaptureFixture[str]
) -> None:
    land(home, "a", trip_event(1), trip_event(2, trip=2), trip_event(3))
    publish(home)
    with open_outbox(home.settings) as outbox:  # as if it had been killed: the first comes again
        outbox._connection.execute("delete from queued_events")
        with outbox.transaction():
            outbox.note_read([])
    publish(home)
    assert len(stream.records()) == 6
    page = (PROJECT_ROOT / "docs" / "bus.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(code.replace('"trip-events"', repr(stream.name)), {})  # noqa: S102
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 3
    assert said.index("2024-05-30T10:01:00.000000Z user.entered_geofence trip-1") < said.index(
        "2024-05-30T10:03:00.000000Z user.entered_geofence trip-1"
    )
    (example,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    assert list(json.loads(example)) == [*stream.records()[0]][1:]


def test_two_processes_send_one_after_the_other(home: Home, stream: Stream) -> None:
    land(home, "a", *(trip_event(number, trip=number % 4) for number in range(100)))
    home.load()
    fill(home.settings, now)
    first, second = Publisher(home.settings, now), Publisher(home.settings, now)
    assert first.close().sent + second.close().sent == 100
    assert len(stream.records()) == 100
    for trip, events in in_order(stream).items():
        assert events == [f"t{n}" for n in range(int(trip[-1]), 100, 4)]


def test_somebody_who_sends_for_ever_is_no_error_of_a_load(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loaders.bus.outbox.ROUND_SECONDS", 0.2)
    land(home, "a", trip_event(1))
    home.load()
    with bus_lock(home.settings):
        summary = publish(home)
    assert summary.waiting == 1
    assert "is held by" in str(summary.failure)
    assert publish(home).sent == 1


def test_a_damaged_outbox_stops_no_load_and_is_told(home: Home) -> None:
    land(home, "a", trip_event(1))
    home.load()
    outbox = home.settings.bus_folder / "outbox.sqlite"
    whole = outbox.read_bytes()
    outbox.write_bytes(b"x" * 5000)
    land(home, "b", trip_event(2))
    summary = publish(home)
    assert home.keys("trips/trip_events") == ["t1", "t2"]
    assert "outbox.sqlite, cannot be used" in str(summary.failure)
    outbox.write_bytes(whole)
    assert publish(home).sent == 2
