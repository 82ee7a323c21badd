"""The outbox: what is to go on the bus and has not, in a small SQLite file beside the segments.

It also knows which segments were read and which events were queued before, so that a message that
was sent is not queued again: not after a compaction, nor when the event is delivered again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from larder.errors import BusError
from larder.lock import hold
from larder.settings import Settings
from loaders.asides import commit
from loaders.bus.messages import PUBLISHED_ENTITY, Message
from loaders.ledger import find_segments

BUSY_SECONDS = 60
# A round on the bus takes as long as its time limits; an erasure waits for it.
ROUND_SECONDS = 30.0
# beyond every key, which is hexadecimal digits
LAST_KEY = "~"

SCHEMA = """
create table messages (
    id integer primary key,
    event_key text not null,
    partition_key text not null,
    occurred_at integer not null,
    queued_at real not null,
    driver_key text,
    body blob not null
);
create index messages_in_order on messages (partition_key, occurred_at, id);
create index messages_by_age on messages (queued_at);
create table set_aside (
    event_key text primary key,
    driver_key text,
    reason text not null,
    size_bytes integer not null,
    set_aside_at real not null
);
create table queued_events (event_key text primary key) without rowid;
create table read_segments (name text primary key) without rowid;
create table counts (sent integer not null, failures integer not null, sent_at real,
    failed_at real, failure text);
insert into counts (sent, failures) values (0, 0);
"""


@dataclass(frozen=True)
class Waiting:
    """Hold a message that waits: the first of its trip."""

    id: int
    event_key: str
    partition_key: str
    body: bytes


@dataclass(frozen=True)
class Backlog:
    """Say how the bus stands; instants in UTC, counts since the outbox was made.

    `failures` are records that the bus did not take, and requests that it did not answer; `failure`
    says why the last one was, null once a message was sent again. Messages that can never be sent
    are `set_aside`.
    """

    place: str
    waiting: int = 0
    oldest_waiting_at: datetime | None = None
    set_aside: int = 0
    sent: int = 0
    failures: int = 0
    last_sent_at: datetime | None = None
    failure: str | None = None


class Outbox:
    """Read and change the outbox; safe for several processes."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
        )
        # what is erased must not stay in free pages
        self._connection.execute("pragma secure_delete = on")
        self._connection.execute("pragma synchronous = full")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what the block does, or nothing of it; nobody else writes meanwhile."""
        self._connection.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._connection.execute("rollback")
            raise
        self._connection.execute("commit")

    def read_segments(self) -> set[str]:
        """Return the segments that were read before, some of which may be gone by now."""
        return {name for (name,) in self._all("select name from read_segments")}

    def note_read(self, present: Collection[str]) -> None:
        """Keep that of all segments just these are there, and were read."""
        self._connection.execute("delete from read_segments")
        self._connection.executemany(
            "insert into read_segments values (?)", [(name,) for name in present]
        )

    def queue(self, messages: Iterable[Message], now: datetime) -> int:
        """Let messages wait that were never queued before; return how many."""
        queued = 0
        for one in messages:
            is_new = self._connection.execute(
                "insert or ignore into queued_events values (?)", [one.event_key]
            ).rowcount
            if is_new:
                queued += 1
                self._connection.execute(
                    "insert into messages (event_key, partition_key, occurred_at, queued_at, "
                    "driver_key, body) values (?, ?, ?, ?, ?, ?)",
                    [
                        one.event_key,
                        one.partition_key,
                        one.occurred_at,
                        now.timestamp(),
                        one.driver_key,
                        one.body,
                    ],
                )
        return queued

    def heads(self, after: str) -> Iterator[Waiting]:
        """Give the first waiting message of each trip, in turn: trips beyond `after` come first.

        First is what happened first; of the same instant, what was queued first.
        """
        yield from self._heads(after, LAST_KEY)
        yield from self._heads("", after)

    def _heads(self, after: str, until: str) -> Iterator[Waiting]:
        query = (
            "select id, event_key, partition_key, body from messages "
            "where partition_key > ? and partition_key <= ? "
            "order by partition_key, occurred_at, id limit 1"
        )
        # a search of the index for each trip: what waits behind its first message is not looked at
        while row := self._connection.execute(query, [after, until]).fetchone():
            first = Waiting(*row)
            after = first.partition_key
            yield first

    def note_sent(self, sent: Sequence[Waiting], now: datetime) -> None:
        """Take messages out that the bus has."""
        self._remove(sent)
        self._connection.execute(
            "update counts set sent = sent + ?, sent_at = ?, failure = null",
            [len(sent), now.timestamp()],
        )

    def note_failures(self, failures: int, why: str, now: datetime) -> None:
        """Count what the bus did not take."""
        self._connection.execute(
            "update counts set failures = failures + ?, failed_at = ?, failure = ?",
            [failures, now.timestamp(), why],
        )

    def set_aside(self, messages: Sequence[Waiting], reason: str, now: datetime) -> None:
        """Take messages out that can never be sent, and keep that it was so."""
        self._connection.executemany(
            "insert or replace into set_aside select event_key, driver_key, ?, length(body), ? "
            "from messages where id = ?",
            [(reason, now.timestamp(), one.id) for one in messages],
        )
        self._remove(messages)

    def _remove(self, messages: Sequence[Waiting]) -> None:
        self._connection.executemany(
            "delete from messages where id = ?", [(one.id,) for one in messages]
        )

    def forget(self, tokens: Collection[str]) -> int:
        """Remove whatever is about the people of these tokens; return how many messages."""
        removed = 0
        for table in ("messages", "set_aside"):
            for token in tokens:
                removed += self._connection.execute(
                    f"delete from {table} where driver_key = ?", [token]
                ).rowcount
        return removed

    def waiting(self) -> int:
        """Count what waits."""
        return int(self._all("select count(*) from messages")[0][0])

    def backlog(self, place: str) -> Backlog:
        """Say how it stands."""
        ((sent, failures, sent_at, failure),) = self._all(
            "select sent, failures, sent_at, failure from counts"
        )
        return Backlog(
            place=place,
            waiting=self.waiting(),
            oldest_waiting_at=_moment(self._all("select min(queued_at) from messages")[0][0]),
            set_aside=self._all("select count(*) from set_aside")[0][0],
            sent=sent,
            failures=failures,
            last_sent_at=_moment(sent_at),
            failure=failure,
        )

    def copy_to(self, path: Path) -> None:
        """Write a consistent copy, whoever writes meanwhile."""
        path.touch(mode=0o600)
        with closing(sqlite3.connect(path)) as copy:
            self._connection.backup(copy)

    def _all(self, query: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(query).fetchall()


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def outbox_file(settings: Settings) -> Path:
    """Return the file."""
    return settings.bus_folder / "outbox.sqlite"


def segment_names(settings: Settings) -> set[str]:
    """Return the segments that events are read from, relative to raw."""
    raw = settings.raw_folder
    return {path.relative_to(raw).as_posix() for path in find_segments(raw, PUBLISHED_ENTITY)}


def begin_outbox(settings: Settings) -> None:
    """Make the outbox where there is none; each load does so before it makes a segment.

    What was loaded before is history: it is in the tables, and does not go on the bus now.

    Raises:
        BusError: it cannot be made.
    """
    final = outbox_file(settings)
    if final.exists():
        return
    settings.bus_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with bus_lock(settings), outbox_is_usable(settings):
        if final.exists():
            return
        beside = final.with_name(f".{final.name}.making")
        beside.unlink(missing_ok=True)
        beside.touch(mode=0o600)
        with closing(sqlite3.connect(beside)) as connection:
            connection.executescript(SCHEMA)
        with closing(Outbox(beside)) as outbox, outbox.transaction():
            outbox.note_read(segment_names(settings))
        commit(beside, final)


@contextmanager
def open_outbox(settings: Settings) -> Iterator[Outbox]:
    """Open the outbox, made where there is none.

    Raises:
        BusError: it cannot be used.
    """
    begin_outbox(settings)
    with outbox_is_usable(settings), closing(Outbox(outbox_file(settings))) as outbox:
        yield outbox


@contextmanager
def outbox_is_usable(settings: Settings) -> Iterator[None]:
    """Turn what SQLite or the disk report into an error of ours."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise BusError(
            f"The outbox of the event bus, {outbox_file(settings)}, cannot be used ({error}). Make "
            "room, or let the user that runs larder write there; a damaged one comes back from the "
            "backup. Nothing was lost: what is loaded waits for the next load."
        ) from error


@contextmanager
def bus_lock(settings: Settings) -> Iterator[None]:
    """Be the only one who sends, for as long as a round takes.

    Raises:
        BusError: the lock cannot be made.
        WarehouseBusyError: somebody else was it for too long.
    """
    with (
        outbox_is_usable(settings),
        hold(settings.bus_folder / ".lock", "larder load", ROUND_SECONDS),
    ):
        yield


def read_backlog(settings: Settings) -> Backlog:
    """Say how the bus stands, also where nothing was ever loaded; makes nothing.

    Raises:
        BusError: the outbox cannot be read.
    """
    place = settings.bus or "in process"
    if not outbox_file(settings).exists():
        return Backlog(place)
    with open_outbox(settings) as outbox:
        return outbox.backlog(place)
