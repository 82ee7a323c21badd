"""Upload what the loader has committed into the raw tables of Snowflake, each segment once.

Records are read, checked and given their tokens in one place for both engines: the loader, whose
segments are the truth. What Snowflake gets are their rows. A batch of segments is put on the
stage, copied, and listed in the manifest in one transaction, so that whatever is killed or lost a
segment is there whole, once, or not yet.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from larder.lock import hold
from larder.progress import Progress
from larder.settings import Settings
from larder.snowflake import LANDING, fetch, open_snowflake
from larder.warehouse import literal, open_memory
from loaders.asides import make_aside, remove_aside, sweep_asides
from loaders.audit.verdicts import VERDICT_SCHEMA, Verdicts
from loaders.checks import SEGMENT_COLUMNS
from loaders.ledger import find_segments, read_origins
from loaders.segments import segment_rows
from loaders.staging import copy_into, own_place, staged, transaction
from loaders.vault import open_vault
from loaders.vault_copy import bring_up_to_date

if TYPE_CHECKING:
    from snowflake.connector import SnowflakeConnection

# One COPY takes at most 1,000 named files.
SEGMENTS_AT_ONCE = 200
BYTES_AT_ONCE = 512 * 1024 * 1024
STAGE = f"{LANDING}.segments"
MANIFEST_SCHEMA = pa.schema(
    [
        ("segment", pa.string()),
        ("source", pa.string()),
        ("entity", pa.string()),
        ("stamp", pa.string()),
        ("records", pa.int64()),
        ("rejected", pa.int64()),
        ("source_files", pa.string()),
        ("uploaded_at", pa.timestamp("us")),
    ]
)


@dataclass(frozen=True)
class UploadSummary:
    """Count what an upload sent: segments, their rows, verdicts, and tokens of the vault."""

    segments: int = 0
    records: int = 0
    verdicts: int = 0
    tokens: int = 0


@dataclass(frozen=True)
class _Segment:
    name: str
    path: Path
    stamp: str
    size: int


def upload(
    settings: Settings,
    now: Callable[[], datetime],
    progress: Progress | None = None,
    *,
    erasing: Collection[str] = (),
) -> UploadSummary:
    """Bring the raw tables up to date with the segments and verdicts of the home folder.

    The vault goes first: no record may be in Snowflake with a token that the vault's copy does not
    know. A segment that an erasure has rewritten, or that another home has made of the same file,
    takes the place of what was there of it. `progress` is called with segments done and segments to
    do; `erasing` are the tokens of the person whom the caller is erasing.

    Raises:
        WarehouseError: Snowflake refuses or is lost; what is finished stays, nothing is half done.
            Or the vault and its copy cannot be brought together; nothing was uploaded.
        WarehouseBusyError: another upload of this home did not end in time.
        KeyMismatchError: the vault cannot be used, or its copy was made with another key.
    """
    raw = settings.raw_folder
    if not raw.is_dir():
        return UploadSummary()
    with _uploading(settings, now) as connection:
        sweep_asides(raw)
        # what a killed upload has left
        fetch(connection, f"remove {own_place(settings, STAGE)}")
        known = dict(fetch(connection, f"select segment, stamp from {LANDING}.manifest"))
        # listed before the vault is copied: what is loaded meanwhile may hold newer tokens
        pending = [one for one in _segments(raw) if known.get(one.name) != one.stamp]
        tokens = bring_up_to_date(settings, connection, erasing)
        records = done = 0
        for batch in _batches(pending):
            records += _send(settings, connection, batch, known, now())
            done += len(batch)
            if progress:
                progress("segments", done, len(pending))
        return UploadSummary(done, records, _send_verdicts(settings, connection), tokens)


def exchange_tokens(settings: Settings, now: Callable[[], datetime]) -> None:
    """Bring the vault and its copy together, and no records.

    Raises:
        as `upload`.
    """
    with _uploading(settings, now) as connection:
        with open_vault(settings) as vault:
            buried = vault.buried_tokens()
        bring_up_to_date(settings, connection, buried)


@contextmanager
def _uploading(settings: Settings, now: Callable[[], datetime]) -> Iterator[SnowflakeConnection]:
    locks = settings.raw_folder / "_locks"
    locks.mkdir(parents=True, exist_ok=True)
    with (
        hold(locks / "upload", "larder upload", settings.lock_wait_seconds, now=now),
        open_snowflake(settings, "loader") as connection,
    ):
        yield connection


def _segments(raw: Path) -> Iterator[_Segment]:
    for path in sorted(find_segments(raw)):
        status = path.stat()
        stamp = f"{status.st_size} {status.st_mtime_ns}"
        yield _Segment(path.relative_to(raw).as_posix(), path, stamp, status.st_size)


def _batches(segments: Sequence[_Segment]) -> Iterator[list[_Segment]]:
    remaining = iter(segments)
    while batch := list(islice(remaining, 1)):
        size = batch[0].size
        while len(batch) < SEGMENTS_AT_ONCE and size < BYTES_AT_ONCE:
            one = next(remaining, None)
            if one is None:
                break
            batch.append(one)
            size += one.size
        yield batch


def _send(
    settings: Settings,
    connection: SnowflakeConnection,
    batch: Sequence[_Segment],
    known: dict[str, str],
    now: datetime,
) -> int:
    """Send a batch in one transaction; return its rows."""
    aside = make_aside(settings.raw_folder)
    try:
        rows = _write_rows(settings, batch, aside / "records.parquet")
        uploaded_at = now.astimezone(UTC).replace(tzinfo=None)
        manifest = [
            {
                "segment": one.name,
                "source": one.name.split("/")[0],
                "entity": one.name.split("/")[1],
                "stamp": one.stamp,
                "records": rows.get(one.name, (0, 0))[0],
                "rejected": rows.get(one.name, (0, 0))[1],
                "source_files": json.dumps([o.source_file for o in read_origins(one.path)]),
                "uploaded_at": uploaded_at,
            }
            for one in batch
        ]
        pq.write_table(pa.Table.from_pylist(manifest, MANIFEST_SCHEMA), aside / "manifest.parquet")
        # by the last part, which names a content: another home loaded it in another hour
        contents = {PurePosixPath(one.name).name for one in batch}
        replaced = [name for name in known if PurePosixPath(name).name in contents]
        place = own_place(settings, STAGE)
        with staged(connection, place, aside) as stage, transaction(connection):
            if replaced:
                marks = ", ".join(["%s"] * len(replaced))
                for table in ("records", "manifest"):
                    statement = f"delete from {LANDING}.{table} where segment in ({marks})"
                    fetch(connection, statement, *replaced)
            records = sum(records for records, _ in rows.values())
            for table, sent in (("records", records), ("manifest", len(batch))):
                copy_into(connection, f"{LANDING}.{table}", f"{stage}/{table}.parquet", sent)
        return records
    finally:
        remove_aside(aside)


def _write_rows(
    settings: Settings, batch: Sequence[_Segment], target: Path
) -> dict[str, tuple[int, int]]:
    """Write the rows of segments with their names; return records and rejected by segment."""
    start = len(str(settings.raw_folder)) + 2
    columns = ", ".join(
        "coalesce(line_number, file_row_number + 1) as line_number"
        if name == "line_number"
        else name
        for name in SEGMENT_COLUMNS
    )
    with open_memory(settings) as connection:
        connection.execute(
            f"copy (select {columns}, substr(filename, {start}) as segment "
            f"from {segment_rows([one.path for one in batch], 'filename = true')}) "
            f"to {literal(str(target))} "
            "(format parquet, parquet_version v1, compression zstd)"
        )
        counted = connection.execute(
            "select segment, count(*), count(rejection_reason) from read_parquet(?) "
            "group by segment",
            [str(target)],
        ).fetchall()
    return {segment: (records, rejected) for segment, records, rejected in counted}


def _send_verdicts(settings: Settings, connection: SnowflakeConnection) -> int:
    """Send the verdicts that are newer than those sent; a newer one always has a later moment."""
    sent = fetch(connection, f"select max(decided_at) from {LANDING}.verdicts")[0][0]
    found = Verdicts(settings).latest.values()
    new = [one for one in found if sent is None or one.decided_at > sent]
    if not new:
        return 0
    aside = make_aside(settings.raw_folder)
    try:
        rows = [{name: getattr(one, name) for name in VERDICT_SCHEMA.names} for one in new]
        place = own_place(settings, STAGE)
        pq.write_table(pa.Table.from_pylist(rows, VERDICT_SCHEMA), aside / "verdicts.parquet")
        with staged(connection, place, aside) as stage, transaction(connection):
            copy_into(connection, f"{LANDING}.verdicts", f"{stage}/verdicts.parquet", len(new))
    finally:
        remove_aside(aside)
    return len(new)
