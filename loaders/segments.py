"""Raw segments: each landing file becomes one immutable Parquet file, committed by one rename."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from larder.errors import LandingError
from larder.warehouse import literal
from loaders.asides import commit, make_aside, remove_aside
from loaders.checks import SEGMENT_COLUMNS, segment_sql
from loaders.entities import Entity
from loaders.landing import LandingFile, is_still_written, sha256_of
from loaders.ledger import METADATA_KEY, PARTS_KEY, Origin
from loaders.readers import (
    LINE_FORMATS,
    Lines,
    UnreadableFileError,
    careful_lines,
    decompressed,
    dynamodb_lines,
    fast_lines,
    is_dynamodb,
    is_refusal,
    line_feed_lines,
    lines_told_apart,
)
from loaders.vault import Vault

# Files that belong to no entity are kept, with their reason, in an entity of their own.
UNKNOWN = "unknown/files"
# Written as fast as it gets: nearly every payload, key and hash is a value of its own, so large
# dictionaries only cost time, and smaller row groups ask the system for less fresh memory.
PARQUET_OPTIONS = (
    "format parquet, parquet_version v2, compression snappy, dictionary_size_limit 1000, "
    "row_group_size 40960"
)
EMPTY_FILE = UnreadableFileError("empty_file", "the file has no bytes")
SEGMENT_SCHEMA = pa.schema(
    [
        (
            name,
            pa.int64()
            if name == "line_number"
            else pa.timestamp("us")
            if name.endswith("_at")
            else pa.string(),
        )
        for name in SEGMENT_COLUMNS
    ]
)


def segment_rows(paths: Sequence[Path], *options: str) -> str:
    """Give the relation of segments' rows, each with its `file_row_number`.

    It has all columns of today; what an earlier version wrote lacks the token columns that are
    newer, and holds nobody for them.
    """
    types = {pa.int64(): "BIGINT", pa.timestamp("us"): "TIMESTAMP", pa.string(): "VARCHAR"}
    if not paths:
        nothing = ", ".join(f"null::{types[one.type]} as {one.name}" for one in SEGMENT_SCHEMA)
        return f"(select {nothing}, 0 as file_row_number, '' as filename where false)"
    columns = ", ".join(
        f"'{one.name}': {{name: '{one.name}', type: '{types[one.type]}', default_value: null}}"
        for one in SEGMENT_SCHEMA
    )
    chosen = "".join(f", {option}" for option in options)
    return (
        f"read_parquet([{', '.join(literal(str(path)) for path in paths)}], "
        f"schema = map {{{columns}}}, file_row_number = true, hive_partitioning = false{chosen})"
    )


def copy_options(origins: Sequence[Origin], parts: Sequence[str] = ()) -> str:
    """Return the options of the COPY statement that writes a segment made from these files.

    `parts` are the segments, relative to raw, that a compacted one takes the place of.
    """
    metadata = {METADATA_KEY: [asdict(origin) for origin in origins], PARTS_KEY: list(parts)}
    content = ", ".join(
        f"{key.decode()}: {literal(json.dumps(value))}" for key, value in metadata.items() if value
    )
    return f"{PARQUET_OPTIONS}, kv_metadata {{{content}}}"


@dataclass(frozen=True)
class SegmentCounts:
    """Count the records of a segment."""

    records: int = 0
    rejected: int = 0
    duplicates: int = 0


def segment_folder(raw: Path, entity_path: str, loaded_at: datetime) -> Path:
    """Return the folder of segments loaded in that hour."""
    return raw / entity_path / f"process_hour={loaded_at:%Y-%m-%dT%H}"


def segment_name(origin: Origin, vault: Vault) -> str:
    """Return a name that says which content of which path this is, and neither of them.

    It outlives an erasure, in verdicts and builds, so only the vault can confirm a guess.
    """
    return f"{vault.content_name(f'{origin.source_file} {origin.sha256}'.encode())}.parquet"


def write_segment(
    connection: duckdb.DuckDBPyConnection,
    file: LandingFile,
    raw: Path,
    known: list[Origin],
    now: Callable[[], datetime],
    vault: Vault,
) -> SegmentCounts | Origin | None:
    """Make the segment of a landing file; one rename commits it.

    `known` are the contents that this path had before. Returns null when the file is still being
    written, and its origin when it was only touched: the content is known.

    Raises:
        LandingError: the file may not be read.
    """
    try:
        return _write_segment(connection, file, raw, known, now, vault)
    except FileNotFoundError:
        if file.path.exists():
            raise
        return None  # taken away while it was read
    except PermissionError as error:
        if error.filename is None or Path(error.filename) != file.path:
            raise
        raise LandingError(
            f"{file.relative} in the landing zone may not be read. Give the user that runs larder "
            "the right to read it and load again."
        ) from error


def _write_segment(
    connection: duckdb.DuckDBPyConnection,
    file: LandingFile,
    raw: Path,
    known: list[Origin],
    now: Callable[[], datetime],
    vault: Vault,
) -> SegmentCounts | Origin | None:
    if is_still_written(file):
        return None
    origin = Origin(file.relative, sha256_of(file.path), file.size, file.modified_ns, file.etag)
    if any(earlier.sha256 == origin.sha256 for earlier in known):
        return origin
    loaded_at = now()
    aside = make_aside(raw)
    entity = file.entity
    try:
        try:
            if entity is None:
                raise UnreadableFileError(
                    "unknown_entity", "the folder is not <source>/<entity> of the contract"
                )
            _require_readable(file, known)
            _copy(connection, entity, file, origin, loaded_at, aside)
        except UnreadableFileError as problem:
            _write_rejected_file(aside / "segment", origin, file, problem, loaded_at)
        if is_still_written(file):
            return None
        counts = _count(connection, aside / "segment")
        folder = segment_folder(raw, entity.path if entity else UNKNOWN, loaded_at)
        vault.sync()  # the tokens that the segment holds
        commit(aside / "segment", folder / segment_name(origin, vault))
        return counts
    finally:
        remove_aside(aside)


def received_at(file: LandingFile, loaded_at: datetime) -> datetime:
    """Return when the file arrived, without zone; a clock ahead of ours cannot make it later."""
    changed_at = datetime.fromtimestamp(file.modified_ns / 1e9, UTC)
    return min(changed_at, loaded_at).replace(tzinfo=None)


def _require_readable(file: LandingFile, known: list[Origin]) -> None:
    if known:
        raise UnreadableFileError(
            "changed_file", "a file of this name was loaded with other content before"
        )
    if file.file_format is None:
        raise UnreadableFileError(
            "unsupported_format",
            "the name must end in .ndjson, .jsonl, .json, .csv (each also .gz, .zst) or .parquet",
        )


def _copy(
    connection: duckdb.DuckDBPyConnection,
    entity: Entity,
    file: LandingFile,
    origin: Origin,
    loaded_at: datetime,
    aside: Path,
) -> None:
    """Write the segment of a readable file to `aside / "segment"`."""

    def copy(lines: str | Lines) -> int:
        if entity.holds_several and isinstance(lines, Lines):
            lines = lines_told_apart(lines)
        return _copy_lines(connection, entity, file, origin, loaded_at, aside / "segment", lines)

    assert file.file_format is not None
    if file.file_format in (*LINE_FORMATS, ".json") and is_dynamodb(file):
        copy(dynamodb_lines(file, entity))
        return
    if file.file_format in LINE_FORMATS:
        if copy(line_feed_lines(file)) == 0:
            raise EMPTY_FILE
        return
    plain = decompressed(file, aside / "plain")
    if plain.stat().st_size == 0:
        raise EMPTY_FILE
    fast = None if entity.holds_several else fast_lines(plain, file.file_format)
    if fast is not None:
        try:
            copy(fast)
            return
        except duckdb.Error as error:
            if not is_refusal(error):
                raise
    copy(careful_lines(plain, file.file_format))


def _copy_lines(
    connection: duckdb.DuckDBPyConnection,
    entity: Entity,
    file: LandingFile,
    origin: Origin,
    loaded_at: datetime,
    target: Path,
    lines: str | Lines,
) -> int:
    relation = lines
    if isinstance(lines, Lines):
        relation = "landed_lines"
        connection.register(relation, lines.reader)
    try:
        rows: int = connection.execute(
            f"copy ({segment_sql(entity, str(relation))}) to {literal(str(target))} "
            f"({copy_options([origin])})",
            {
                "source_file": file.relative,
                "received_at": received_at(file, loaded_at),
                "loaded_at": loaded_at.replace(tzinfo=None),
            },
        ).fetchall()[0][0]
    except duckdb.Error:
        if isinstance(lines, Lines) and lines.error:
            raise lines.error from None
        raise
    finally:
        if isinstance(lines, Lines):
            connection.unregister(str(relation))
    return rows


def _write_rejected_file(
    path: Path, origin: Origin, file: LandingFile, problem: UnreadableFileError, now: datetime
) -> None:
    row = dict.fromkeys(SEGMENT_COLUMNS) | {
        "payload": "",
        "rejection_reason": problem.reason,
        "rejection_detail": problem.detail,
        "source_file": file.relative,
        "received_at": received_at(file, now),
        "loaded_at": now.replace(tzinfo=None),
    }
    schema = SEGMENT_SCHEMA.with_metadata({METADATA_KEY: json.dumps([asdict(origin)])})
    pq.write_table(pa.Table.from_pylist([row], schema), path)


def _count(connection: duckdb.DuckDBPyConnection, segment: Path) -> SegmentCounts:
    records, rejected, distinct = connection.execute(
        # 64 bits are enough to tell the records of one file apart for a count
        "select count(payload), count(rejection_reason), count(distinct hash(content_hash)) "
        "filter (where content_hash is not null) "
        f"from read_parquet({literal(str(segment))})"
    ).fetchall()[0]
    return SegmentCounts(records, rejected, records - rejected - distinct)
