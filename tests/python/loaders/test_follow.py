"""Following the landing zone: what arrives is loaded, whatever is lost on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_plus

import boto3
import pytest
from faulty_s3 import Fault, S3Home
from landing_zone import Home, event, line, now

from larder.errors import LandingError, SettingsError
from larder.settings import PROJECT_ROOT, Settings
from larder.stopping import Stopping
from loaders import follow as follow_module
from loaders.follow import follow
from loaders.load import load
from loaders.s3 import queue as queue_module
from loaders.s3.notifications import MalformedMessageError, arrived_keys

STOCK = "fridge/stock_events"
A, B = f"{STOCK}/a.ndjson", f"{STOCK}/b.ndjson"
FOLLOW = "import sys; sys.argv = ['larder', 'load', '--follow']; import larder.cli as c; c.main()"
SECONDS = 60.0  # on a busy computer; mostly it takes a moment


@dataclass
class Following:
    """Hold what runs in a thread of its own, and what it said."""

    home: Home
    stopping: Stopping = field(default_factory=Stopping)
    said: list[str] = field(default_factory=list)
    error: BaseException | None = None

    def run(self) -> None:
        try:
            follow(self.home.settings, now, self.said.append, self.stopping)
        except BaseException as error:
            self.error = error

    def loads(self) -> list[str]:
        """Return the lines of its loads."""
        return [said for said in self.said if "files loaded" in said]


@contextmanager
def following(home: Home) -> Iterator[Following]:
    """Follow until the block ends."""
    it = Following(home)
    thread = threading.Thread(target=it.run)
    thread.start()
    try:
        yield it
    finally:
        it.stopping.is_asked = True
        thread.join(SECONDS)
    assert not thread.is_alive()
    if it.error:
        raise it.error


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait for it, not for ever."""
    end = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < end, "it has not come to pass"
        time.sleep(0.02)


def has(home: Home, *keys: str) -> Callable[[], bool]:
    """Ask whether these are the records."""

    def ask() -> bool:
        return any(home.settings.raw_folder.glob("[!_]*/*/*/*.parquet")) and home.keys() == [*keys]

    return ask


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all waits be short."""
    monkeypatch.setattr(follow_module, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(follow_module, "FIRST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(queue_module, "LONG_POLL_SECONDS", 1)


def test_what_arrives_in_a_folder_is_loaded_in_a_line_each(home: Home) -> None:
    home.land(A, line(event(1)))
    with following(home) as it:
        wait_until(has(home, "e1"))
        home.land(B, line(event(2)) + b"x\n")
        wait_until(has(home, "e1", "e2"))
        wait_until(lambda: len(it.loads()) == 2)
        home.land(f"{STOCK}/c.ndjson.tmp", line(event(3)))
        time.sleep(0.2)
    assert it.loads()[1].startswith(f"1 files loaded ({STOCK} 1), 2 records, 1 rejected")
    assert len(it.said) == 2


def test_looking_at_a_folder_reads_no_file_and_does_not_load(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.land(A, line(event(1)))
    loads: list[object] = []

    def counted(*arguments: Any, **named: Any) -> object:
        loads.append(named)
        return load(*arguments, **named)

    monkeypatch.setattr(follow_module, "load", counted)
    with following(home):
        wait_until(has(home, "e1"))
        time.sleep(0.5)
    assert len(loads) == 1


def test_a_file_that_is_still_written_is_not_tried_all_the_time(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow_module, "RETRY_SECONDS", 0.4)
    loads: list[float] = []

    def counted(*arguments: Any, **named: Any) -> object:
        loads.append(time.monotonic())
        return load(*arguments, **named)

    monkeypatch.setattr(follow_module, "load", counted)
    path = home.land(A, line(event(1)))
    with path.open("ab") as file, following(home) as it:
        time.sleep(1)
        assert 2 <= len(loads) <= 5
        file.close()
        wait_until(has(home, "e1"))
        wait_until(lambda: len(it.said) == 1)


@pytest.mark.parametrize(
    ("zone", "sent"), [("folder", signal.SIGINT), ("queue", signal.SIGTERM)], ids=str
)
def test_a_signal_ends_it_well_and_at_once(
    zone: str, sent: signal.Signals, home: Home, s3_home: S3Home
) -> None:
    where = home
    if zone == "queue":
        where = s3_home
        s3_home.put(A, line(event(1)))
    else:
        home.land(A, line(event(1)))
    follower = start_follower(where, make_queue(s3_home) if zone == "queue" else None)
    wait_until(has(where, "e1"))
    time.sleep(0.5)
    started = time.monotonic()
    follower.send_signal(sent)
    out, err = follower.communicate(timeout=SECONDS)
    assert (follower.returncode, err) == (0, "")
    assert time.monotonic() - started < 15  # and not when the long poll of 20 s ends
    assert "1 files loaded (fridge/stock_events 1), 1 records, 0 rejected" in out
    assert out.rstrip().endswith("ended")


def test_a_signal_lets_the_file_in_hand_be_finished(home: Home) -> None:
    for number in range(40):
        home.land(f"{STOCK}/{number:03}.ndjson", line(event(number)) * 50)
    follower = start_follower(home)
    wait_until(lambda: len(list(home.settings.raw_folder.glob("[!_]*/*/*/*.parquet"))) > 5)
    follower.terminate()
    out, err = follower.communicate(timeout=SECONDS)
    assert (follower.returncode, err) == (0, "")
    loaded = len(list(home.settings.raw_folder.glob("[!_]*/*/*/*.parquet")))
    assert 5 < loaded < 40
    assert f"{loaded} files loaded" in out
    assert home.load().files == 40 - loaded


def start_follower(home: Home, queue: str | None = None) -> subprocess.Popen[str]:
    settings = home.settings
    variables = {
        "LARDER_HOME": str(settings.home),
        "LARDER_KEY_FILE": str(settings.key_file),
        "PYTHONPATH": str(PROJECT_ROOT),
    }
    if queue:
        variables |= {"LARDER_LANDING": str(settings.landing), "LARDER_LANDING_QUEUE": queue}
    return subprocess.Popen(
        [sys.executable, "-c", FOLLOW],
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def make_queue(home: S3Home) -> str:
    """Make a queue that the bucket notifies."""
    client = boto3.client("sqs")
    name = home.bucket[:60]
    url = str(
        client.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "1"})["QueueUrl"]
    )
    found = client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    client.close()
    home.client.put_bucket_notification_configuration(
        Bucket=home.bucket,
        NotificationConfiguration={
            "QueueConfigurations": [
                {"QueueArn": found["Attributes"]["QueueArn"], "Events": ["s3:ObjectCreated:*"]}
            ]
        },
    )
    return url


@dataclass
class Queue:
    """Hold the queue of a home."""

    url: str
    client: Any

    def send(self, body: str) -> None:
        self.client.send_message(QueueUrl=self.url, MessageBody=body)

    def count(self) -> int:
        """Return how many messages there are, hidden or not."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)
        return sum(int(found["Attributes"][name]) for name in names)


@pytest.fixture
def queue(s3_home: S3Home) -> Iterator[Queue]:
    """The queue that the bucket notifies; notifications alone, listings are far away."""
    url = make_queue(s3_home)
    s3_home.settings = s3_home.settings.model_copy(update={"landing_queue": url})
    client = boto3.client("sqs")
    yield Queue(url, client)
    client.close()


def test_a_notification_triggers_a_load_and_is_gone_after_it(s3_home: S3Home, queue: Queue) -> None:
    name = f"{STOCK}/2024 05/ä+b.ndjson"
    with following(s3_home) as it:
        wait_until(lambda: any("list-type" in one for one in s3_home.s3.requests))
        s3_home.put(name, line(event(1)))
        wait_until(has(s3_home, "e1"))
        s3_home.put("catalog/items/_not_yet.csv", b"")
        wait_until(lambda: queue.count() == 0)  # the test event is, too
    assert len(it.loads()) == 1
    listings = [one for one in s3_home.s3.requests if "prefix=in%2F&" in one]
    assert len(listings) == 1


def test_a_message_stays_until_its_load_is_committed(s3_home: S3Home, queue: Queue) -> None:
    s3_home.s3.faults.append(Fault("GET", "a.ndjson?", 403, "AccessDenied"))
    with following(s3_home) as it:
        wait_until(lambda: any("list-type" in one for one in s3_home.s3.requests))
        wait_until(lambda: queue.count() == 0)
        s3_home.put(A, line(event(1)))
        s3_home.put(B, line(event(2)))
        wait_until(has(s3_home, "e2"))
        wait_until(lambda: len(it.loads()) >= 2)
        assert queue.count() == 1
        s3_home.s3.faults.clear()
        wait_until(has(s3_home, "e1", "e2"))
        wait_until(lambda: queue.count() == 0)
    assert "1 not read (fridge/stock_events/a.ndjson: it may not be read" in " ".join(it.said)


def test_a_lost_notification_is_made_good_by_a_listing(
    s3_home: S3Home, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow_module, "RELIST_SECONDS", 0.5)
    s3_home.client.put_bucket_notification_configuration(
        Bucket=s3_home.bucket, NotificationConfiguration={}
    )
    with following(s3_home):
        wait_until(lambda: queue.count() == 0)
        s3_home.put(A, line(event(1)))
        wait_until(has(s3_home, "e1"))


def test_without_a_queue_the_bucket_is_listed(
    s3_home: S3Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow_module, "RELIST_WITHOUT_QUEUE_SECONDS", 0.2)
    with following(s3_home) as it:
        wait_until(lambda: len(s3_home.s3.requests) > 1)
        s3_home.put(A, line(event(1)))
        wait_until(has(s3_home, "e1"))
    assert "LARDER_LANDING_QUEUE is not set" in it.said[0]


def test_a_malformed_message_is_left_and_said_once_and_others_go_on(
    s3_home: S3Home, queue: Queue
) -> None:
    with following(s3_home) as it:
        wait_until(lambda: queue.count() == 0)
        queue.send("hello")
        queue.send(json.dumps({"Records": [s3_record("another", "in/x.ndjson")]}))
        wait_until(lambda: len(it.said) == 2)
        s3_home.put(A, line(event(1)))
        wait_until(has(s3_home, "e1"))
        time.sleep(1.5)  # it has come again by then
        assert queue.count() == 1
    assert sum("no notification of S3" in said for said in it.said) == 1
    assert sum("not below LARDER_LANDING" in said for said in it.said) == 1


def test_what_passes_is_waited_for_and_what_does_not_ends_it(s3_home: S3Home, queue: Queue) -> None:
    s3_home.put(A, line(event(1)))
    s3_home.s3.faults.append(Fault("GET", "list-type", 503, "SlowDown", times=4))
    with following(s3_home) as it:
        wait_until(has(s3_home, "e1"))
    assert "too many requests" in it.said[0]
    assert "Trying again in" in it.said[0]
    s3_home.s3.faults.append(Fault("GET", "list-type", 400, "ExpiredToken"))
    with pytest.raises(LandingError, match="have expired"), following(s3_home) as it:
        wait_until(lambda: it.error is not None)
    s3_home.s3.faults.clear()
    queue.client.delete_queue(QueueUrl=queue.url)
    with pytest.raises(LandingError, match="LARDER_LANDING_QUEUE"), following(s3_home) as it:
        wait_until(lambda: it.error is not None)


def test_a_queue_without_a_bucket_is_refused(home: Home) -> None:
    settings = home.settings.model_copy(update={"landing_queue": "http://localhost/q"})
    with pytest.raises(SettingsError, match="LARDER_LANDING_QUEUE"):
        follow(settings, now, print, Stopping())
    assert Settings(landing_queue="").landing_queue is None


def s3_record(bucket: str, key: str, name: str = "ObjectCreated:Put") -> dict[str, Any]:
    """Return one event as S3 writes it."""
    return {"eventName": name, "s3": {"bucket": {"name": bucket}, "object": {"key": key}}}


def bridged(kind: str, key: str) -> dict[str, Any]:
    """Return an event as EventBridge writes it."""
    detail = {"bucket": {"name": "b"}, "object": {"key": key, "size": 5}}
    return {"version": "0", "detail-type": kind, "source": "aws.s3", "detail": detail}


MESSAGES: dict[str, tuple[Any, list[tuple[str, str]]]] = {
    "put": ({"Records": [s3_record("b", quote_plus("in/ä b+c.csv"))]}, [("b", "in/ä b+c.csv")]),
    "two": ({"Records": [s3_record("b", "1"), s3_record("b", "2")]}, [("b", "1"), ("b", "2")]),
    "MinIO": ({"Records": [s3_record("b", "1", "s3:ObjectCreated:Put")]}, [("b", "1")]),
    "removed": ({"Records": [s3_record("b", "1", "ObjectRemoved:Delete")]}, []),
    "SNS": (
        {"Type": "Notification", "Message": json.dumps({"Records": [s3_record("b", "1")]})},
        [("b", "1")],
    ),
    "EventBridge": (bridged("Object Created", "in/ä b+c.csv"), [("b", "in/ä b+c.csv")]),
    "EventBridge, removed": (bridged("Object Deleted", "1"), []),
    "test event": ({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"}, []),
}


@pytest.mark.parametrize(("message", "keys"), MESSAGES.values(), ids=MESSAGES)
def test_every_form_of_a_notification_is_read(message: Any, keys: list[tuple[str, str]]) -> None:
    assert arrived_keys(json.dumps(message)) == keys


@pytest.mark.parametrize(
    "body",
    [
        "",
        "hello",
        "7",
        "[]",
        "null",
        "{}",
        '{"Records": 7}',
        '{"Records": [{}]}',
        '{"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"}}}]}',
        '{"detail-type": "", "detail": {"bucket": {"name": 7}, "object": {"key": "x"}}}',
        '{"Type": "Notification", "Message": "hello"}',
        '{"detail-type": "Object Created"}',
        "[" * 100_000,
    ],
    ids=lambda body: body[:40],
)
def test_what_is_no_notification_is_malformed(body: str) -> None:
    with pytest.raises(MalformedMessageError):
        arrived_keys(body)
