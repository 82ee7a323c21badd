"""A small landing zone with its home, for the tests of the loader."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from larder.settings import Settings
from loaders.audit.verdicts import Decision, Verdict, Verdicts
from loaders.ledger import find_segments
from loaders.load import LoadSummary, load

NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)
ARRIVED = datetime(2024, 5, 31, 6, tzinfo=UTC)


def now() -> datetime:
    """Give the time of every load."""
    return NOW


def event(number: int = 1, **changes: Any) -> dict[str, Any]:
    """Return a stock event that has nothing wrong with it; a change to None takes a field out."""
    record = {
        "event_id": f"e{number}",
        "occurred_at": "2024-05-30T10:00:00Z",
        "location_id": "L1",
        "item_id": "I1",
        "kind": "taken",
        "quantity": 1,
    } | changes
    return {name: value for name, value in record.items() if value is not None}


def line(record: object) -> bytes:
    """Return a record as a line of NDJSON."""
    return json.dumps(record, ensure_ascii=False).encode() + b"\n"


@dataclass
class Home:
    """Hold a home folder and read what became of its files."""

    settings: Settings

    def land(self, name: str, content: bytes, arrived: datetime = ARRIVED) -> Path:
        """Write a landing file."""
        path = self.settings.landing_folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (arrived.timestamp(), arrived.timestamp()))
        return path

    def load(self, clock: Callable[[], datetime] = now) -> LoadSummary:
        """Load what has landed."""
        return load(self.settings, clock)

    def query(self, select: str, entity: str = "*/*") -> list[tuple[Any, ...]]:
        """Query the rows of an entity's segments as `records`."""
        pattern = self.settings.raw_folder / entity / "process_hour=*" / "*.parquet"
        with duckdb.connect() as connection:
            connection.execute(
                "create view records as select * replace (coalesce(line_number, "
                "file_row_number + 1) as line_number) from "
                f"read_parquet('{pattern}', file_row_number = true, hive_partitioning = false)"
            )
            return connection.execute(select).fetchall()

    def keys(self, entity: str = "*/*") -> list[str]:
        """Return the natural keys of the good records, sorted."""
        rows = self.query(
            "select natural_key from records where rejection_reason is null "
            "and payload is not null order by all",
            entity,
        )
        return [row[0] for row in rows]

    def rejections(self, entity: str = "*/*") -> list[tuple[int, str]]:
        """Return line number and reason of the rejected records, in their order."""
        return [
            (number, reason)
            for number, reason in self.query(
                "select line_number, rejection_reason from records "
                "where rejection_reason is not null order by source_file, line_number",
                entity,
            )
        ]


def decide(home: Home, verdict: Decision, *segments: str) -> None:
    """Give a verdict on segments (relative to raw), or on all, without an audit."""
    raw = home.settings.raw_folder
    names = segments or sorted(path.relative_to(raw).as_posix() for path in find_segments(raw))
    verdicts = Verdicts(home.settings)
    moment = verdicts.instant(NOW)
    verdicts.write([Verdict(name, verdict, moment, None, "test") for name in names], None, ())


def make_home(folder: Path) -> Home:
    """Make a home folder whose landing zone is empty."""
    settings = Settings(
        home=folder / "home", key_file=folder / "key", lock_wait_seconds=30.0, memory_limit="1GB"
    )
    settings.landing_folder.mkdir(parents=True)
    return Home(settings)
