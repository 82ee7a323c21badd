"""When records are sent, with a clock that only sleeping moves."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_networks import Sample, write
from warehouse_homes import settings_of

from larder.errors import UsageError
from larder.stopping import Stopping
from loaders.collector.bodies import MAX_BODY_BYTES, MAX_RECORDS
from loaders.collector.senders import key_for
from loaders.entities import Entity, read_entities
from loaders.sample.network import SampleOptions
from loaders.sending.client import Answer, Client
from loaders.sending.pacing import Due, Sender
from loaders.sending.records import LeftOut, batches_of, find_landing_files
from loaders.sending.replaying import replay

MENU, TRIPS = (read_entities()[path] for path in ("menu/menu_events", "trips/trip_events"))


@dataclass
class Moments(Client):
    """Take everything, and note when it came."""

    now: float = 0.0
    posts: list[tuple[float, str, list[bytes]]] = field(default_factory=list)

    def require_collector(self) -> None:
        """Be there."""

    def send(self, entity: Entity, lines: list[bytes]) -> Answer:
        """Note it."""
        self.posts.append((self.now, entity.path, lines))
        return Answer(len(lines), 0)

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    @property
    def sender(self) -> Sender:
        """A sender by this clock."""
        return Sender(self, clock=lambda: self.now, sleep=self.sleep)


def test_each_record_is_sent_when_it_is_due_and_those_of_a_moment_together() -> None:
    client = Moments()
    dues = [Due(0, MENU, b"a"), Due(0, MENU, b"b"), Due(2, TRIPS, b"c"), Due(2.5, MENU, b"d")]
    sender = client.sender
    assert sender.send(dues)
    assert [(round(at, 1), path, lines) for at, path, lines in client.posts] == [
        (0, "menu/menu_events", [b"a", b"b"]),
        (2, "trips/trip_events", [b"c"]),
        (2.5, "menu/menu_events", [b"d"]),
    ]
    assert (sender.sent["menu/menu_events"].records, sender.sent["menu/menu_events"].accepted) == (
        3,
        3,
    )


@given(st.lists(st.integers(1, 400_000), min_size=1, max_size=60))
def test_no_body_is_larger_than_the_collector_takes_and_the_order_stays(sizes: list[int]) -> None:
    client = Moments()
    lines = [b"%03d" % number + b"x" * size for number, size in enumerate(sizes)]
    client.sender.send([Due(0, MENU, line) for line in lines])
    assert [line for _, _, post in client.posts for line in post] == lines
    assert all(len(b"\n".join(post)) <= MAX_BODY_BYTES for _, _, post in client.posts)


def test_many_records_are_sent_in_batches() -> None:
    client = Moments()
    client.sender.send(Due(0, MENU, b"%d" % number) for number in range(25_000))
    assert max(len(lines) for _, _, lines in client.posts) <= MAX_RECORDS
    assert len(client.posts) == 25


def test_nothing_more_is_sent_once_it_is_asked_to_end() -> None:
    client, stopping = Moments(), Stopping()

    def sleep(seconds: float) -> None:
        client.sleep(seconds)
        stopping.is_asked = client.now > 5

    sender = Sender(client, stopping, lambda: client.now, sleep)
    assert not sender.send(Due(second, MENU, b"%d" % second) for second in range(100))
    assert 4 <= sender.sent["menu/menu_events"].records <= 6


@pytest.mark.parametrize(("speed", "lasts"), [(1.0, 3600), (60.0, 60), (0.5, 7200)])
def test_files_are_sent_at_a_multiple_of_their_own_pace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speed: float, lasts: float
) -> None:
    """Records of several files, out of order, and one without a moment."""
    for name, moments in (("a", ["10:30", "10:00"]), ("b", ["11:00", "nonsense", "10:15"])):
        path = tmp_path / f"menu/menu_events/{name}.ndjson"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            "".join(f'{{"createdAt":"2024\u201306\u201301T{one}:00Z"}}\n' for one in moments)
        )
    client = Moments()
    monkeypatch.setattr(
        "loaders.sending.replaying.Sender",
        lambda client, stopping: Sender(client, stopping, lambda: client.now, client.sleep),
    )
    settings = settings_of(tmp_path / "home")
    said: list[str] = []
    done = replay(settings, client, [tmp_path], speed, 1e9, None, said.append, Stopping())
    assert done.is_whole
    sent = [(at, line) for at, _, lines in client.posts for line in lines]
    assert [round(at) for at, _ in sent] == [
        0, 0, round(lasts / 4), round(lasts / 2), round(lasts)
    ]  # fmt: skip
    assert b"nonsense" in sent[0][1]
    assert sorted(at for at, _ in sent) == [at for at, _ in sent]
    assert said[0].startswith("5 records over 1:00:00; ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((["absent.ndjson"], None), "absent.ndjson is not there"),
        ((["here.ndjson"], None), "--entity menu/menu_events"),
        ((["here.ndjson"], "menu/clicks"), "none of the contract"),
        ((["here.txt"], "menu/menu_events"), "must end in .ndjson"),
        ((["empty"], "menu/menu_events"), "holds no file"),
    ],
)
def test_what_cannot_be_sent_is_named(
    tmp_path: Path, arguments: tuple[list[str], str | None], words: str
) -> None:
    (tmp_path / "here.ndjson").write_text("{}\n")
    (tmp_path / "here.txt").write_text("{}\n")
    (tmp_path / "empty").mkdir()
    paths, entity = arguments
    with pytest.raises(UsageError, match=words):
        find_landing_files([tmp_path / path for path in paths], entity)


def test_an_address_must_be_one_of_http() -> None:
    with pytest.raises(UsageError, match="--to localhost:8470 is no address"):
        Client("localhost:8470")


def test_a_key_is_chosen_by_what_it_may_send() -> None:
    keys = "a-key-for-menus-only:menu, a-key-for-the-rest:trips+catalog"
    assert key_for(keys, "menu") == "a-key-for-menus-only"
    assert key_for(keys, "trips") == "a-key-for-the-rest"
    assert key_for(keys, "clinic") is None
    assert key_for("a-key-for-everything:*", "clinic") == "a-key-for-everything"


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    options = SampleOptions(days=7, locations=10)
    return write(tmp_path_factory.mktemp("sent"), options)


def test_every_format_gives_its_records(sample: Sample) -> None:
    """Files of the sample in all formats have as many lines as their events."""
    files = find_landing_files([sample[0]], None)
    kinds = {(file.file_format, file.compression) for file in files}
    assert kinds >= {(".csv", ".gz"), (".json", None), (".parquet", None), (".ndjson", ".zst")}
    left_out = LeftOut()
    read = {file.entity.path: 0 for file in files if file.entity}
    for file in files:
        assert file.entity
        for lines in batches_of(file, left_out):
            read[file.entity.path] += len(lines)
            assert not any("\n" in line for line in lines)
    assert left_out.lines == 0
    several = read.pop("trips/trip_events") - sample[2].records["trips/trip_events"]
    assert several >= 0
    assert read == {
        path: count for path, count in sample[2].records.items() if path != "trips/trip_events"
    }
