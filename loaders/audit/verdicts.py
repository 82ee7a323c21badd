"""Verdicts: which segments a build may see, one small Parquet file an audit or release."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from larder.errors import AuditError, UsageError
from larder.lock import hold
from larder.settings import Settings
from loaders.asides import commit
from loaders.ledger import find_segments

FINGERPRINT_KEY = b"larder_fingerprint"
WARNINGS_KEY = b"larder_warnings"
# A build reads all of them, so they are merged before they are many.
MOST_FILES = 250

Decision = Literal["accepted", "held", "released"]
ACCEPTED: tuple[Decision, ...] = ("accepted", "released")

VERDICT_SCHEMA = pa.schema(
    [
        ("segment", pa.string()),
        ("verdict", pa.string()),
        ("decided_at", pa.timestamp("us")),
        ("reason", pa.string()),
        # the audit that held it first: what was held together is judged together again
        ("batch", pa.string()),
    ]
)
VOLUME_SCHEMA = pa.schema([("segment", pa.string()), ("day", pa.date32()), ("records", pa.int64())])


@dataclass(frozen=True)
class Verdict:
    """Decide about one segment; `decided_at` is UTC without a zone."""

    segment: str
    verdict: Decision
    decided_at: datetime
    reason: str | None
    batch: str


@dataclass(frozen=True)
class HeldSegment:
    """Say which segment is kept out of the build, since when and why."""

    segment: str
    entity: str
    batch: str
    held_since: datetime
    reason: str


class Verdicts:
    """Know the latest verdict of every segment, and write new ones.

    Read and write below the audit lock; a build may read the files at any time.
    """

    def __init__(self, settings: Settings) -> None:
        self._raw = settings.raw_folder
        self._audit = settings.audit_folder
        self.latest: dict[str, Verdict] = {}
        self.fingerprint: str | None = None
        self.warnings: tuple[str, ...] = ()
        files = self._files("verdicts")
        decided = []
        if files:
            # not with pyarrow, which imports pandas to make an instant a Python object
            with duckdb.connect() as connection:
                rows = connection.execute(
                    f"select {', '.join(VERDICT_SCHEMA.names)} from read_parquet(?)",
                    [[str(path) for path in files]],
                ).fetchall()
            decided = [Verdict(*row) for row in rows]
        for path in files:
            metadata = pq.read_metadata(path).metadata or {}
            found = metadata.get(FINGERPRINT_KEY)
            self.fingerprint = found.decode() if found else self.fingerprint
            told = metadata.get(WARNINGS_KEY)
            self.warnings = tuple(json.loads(told)) if told else self.warnings
        decided.sort(key=lambda verdict: verdict.decided_at)
        self.latest = {verdict.segment: verdict for verdict in decided}
        self._first: dict[tuple[str, str], datetime] = {}
        for verdict in decided:
            self._first.setdefault((verdict.segment, verdict.batch), verdict.decided_at)
        self._newest = decided[-1].decided_at if decided else None

    def held(self) -> list[HeldSegment]:
        """Return what is held and still there, oldest first."""
        return [
            HeldSegment(
                verdict.segment,
                entity_of(verdict.segment),
                verdict.batch,
                self._first[verdict.segment, verdict.batch],
                verdict.reason or "",
            )
            for verdict in sorted(
                self.latest.values(), key=lambda verdict: (verdict.decided_at, verdict.segment)
            )
            if verdict.verdict == "held" and (self._raw / verdict.segment).exists()
        ]

    def instant(self, now: datetime) -> datetime:
        """Return `now` for a new verdict, or later: the newest verdict of a segment must win."""
        now = now.astimezone(UTC).replace(tzinfo=None)
        if self._newest is not None and now <= self._newest:
            return self._newest + timedelta(microseconds=1)
        return now

    def write(
        self,
        verdicts: Sequence[Verdict],
        fingerprint: str | None,
        volumes: Iterable[VolumeRow],
        warnings: Sequence[str] | None = None,
    ) -> None:
        """Write the verdicts of one audit or release; the rename is the commit.

        The warnings of an audit stay until the next one; null says nothing about them.
        """
        if len(self._files("verdicts")) >= MOST_FILES:
            self._merge()
        instant = max(verdict.decided_at for verdict in verdicts)
        # sorted by name the newest is the last, which the fingerprint relies on
        name = f"{instant:%Y%m%dT%H%M%S%f}-{uuid.uuid4().hex[:8]}.parquet"
        rows = [{"segment": s, "day": day, "records": records} for s, day, records in volumes]
        if rows:
            # first: a verdict without its volumes would leave a hole in the history
            self._commit("volumes", name, pa.Table.from_pylist(rows, VOLUME_SCHEMA))
        if warnings is not None:
            self.warnings = tuple(warnings)
        schema = VERDICT_SCHEMA.with_metadata(self._metadata(fingerprint))
        table = pa.Table.from_pylist([asdict(verdict) for verdict in verdicts], schema)
        self._commit("verdicts", name, table)
        for verdict in verdicts:
            self.latest[verdict.segment] = verdict
            self._first.setdefault((verdict.segment, verdict.batch), verdict.decided_at)
        self._newest = instant

    def volume_files(self) -> list[str]:
        """Return the files with the records a day of every audited segment."""
        return [str(path) for path in self._files("volumes")]

    def _metadata(self, fingerprint: str | None) -> dict[bytes, bytes]:
        told = {WARNINGS_KEY: json.dumps(self.warnings).encode()}
        return told | ({FINGERPRINT_KEY: fingerprint.encode()} if fingerprint else {})

    def _files(self, kind: str) -> list[Path]:
        return sorted((self._audit / kind).glob("*.parquet"))

    def _commit(self, kind: str, name: str, table: pa.Table) -> None:
        aside = self._audit / "_aside" / uuid.uuid4().hex
        aside.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, aside)
        commit(aside, self._audit / kind / name)

    def _merge(self) -> None:
        """Put all files into one; killed between, the rows are there twice, which is harmless."""
        for kind in ("volumes", "verdicts"):
            files = self._files(kind)
            if not files:
                continue
            tables = [pq.read_table(path) for path in files]
            schema = tables[-1].schema
            if kind == "verdicts":
                schema = schema.with_metadata(self._metadata(self.fingerprint))
            table = pa.concat_tables(
                [table.replace_schema_metadata(schema.metadata) for table in tables]
            )
            self._commit(kind, f"{files[-1].stem}-merged.parquet", table)
            for path in files:
                path.unlink()


VolumeRow = tuple[str, object, int]


def entity_of(segment: str) -> str:
    """Return the entity path of a segment, given relative to raw."""
    return "/".join(segment.split("/")[:2])


def segment_names(settings: Settings) -> list[str]:
    """Return every committed segment, relative to raw, sorted."""
    raw = settings.raw_folder
    return sorted(path.relative_to(raw).as_posix() for path in find_segments(raw))


def list_held(settings: Settings) -> list[HeldSegment]:
    """Return the segments that are kept out of the build, oldest first."""
    return Verdicts(settings).held()


def release(
    settings: Settings, pattern: str, reason: str, now: Callable[[], datetime]
) -> list[HeldSegment]:
    """Accept held segments on a person's word; the next build takes them.

    `pattern` is a batch (as `list_held` names it), an entity path, or a segment's name, with `*`
    for any text.

    Raises:
        UsageError: no reason is given.
        AuditError: nothing held matches; says what is held.
    """
    if not reason.strip():
        raise UsageError(
            "A release needs a --reason: whoever reads the verdicts later will ask. "
            "Give one and run again."
        )
    settings.audit_folder.mkdir(parents=True, exist_ok=True)
    with hold(audit_lock(settings), "larder audit --release", settings.lock_wait_seconds, now=now):
        verdicts = Verdicts(settings)
        held = verdicts.held()
        chosen = [
            segment
            for segment in held
            if any(
                fnmatchcase(name, pattern)
                for name in (segment.segment, segment.entity, segment.batch)
            )
        ]
        if not chosen:
            batches = sorted({f"{segment.batch} ({segment.entity})" for segment in held})
            raise AuditError(
                f"No held segment matches {pattern}. "
                + (f"Held are the batches {', '.join(batches)}." if held else "Nothing is held.")
            )
        decided_at = verdicts.instant(now())
        verdicts.write(
            [
                Verdict(segment.segment, "released", decided_at, reason.strip(), segment.batch)
                for segment in chosen
            ],
            fingerprint=None,
            volumes=(),
        )
    return chosen


def audit_lock(settings: Settings) -> Path:
    """Return the lock file that audits and releases take in turn."""
    return settings.audit_folder / "audit.lock"
