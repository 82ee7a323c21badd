"""Rewrite a raw segment without a person."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from larder.warehouse import literal
from loaders.checks import segment_sql
from loaders.entities import Entity
from loaders.erasing.cleaner import Cleaner
from loaders.landing import sha256_of
from loaders.segments import Origin, commit, copy_options

BATCH_ROWS = 10_000
# The loader leaves the number out where it is the row's place in the file.
LINE_NUMBER = "coalesce(line_number, file_row_number + 1)"
# Stands for the hash of a content that held the person; no content has it.
FORGOTTEN = "forgotten"


Affected = list[tuple[int, str | None]]
"""Line numbers, each with the record without the person, or null where nothing is left."""


def find_affected(connection: duckdb.DuckDBPyConnection, segment: Path, clean: Cleaner) -> Affected:
    """Return the records of a segment that the person is in."""
    tokens = ", ".join(literal(token) for token in clean.person.tokens) or "null"
    columns = [f"{domain}_token" for domain in clean.person.ids]
    is_theirs = " or ".join(f"{column} in ({tokens})" for column in columns)
    rows = connection.execute(
        f"select {LINE_NUMBER}, payload, {is_theirs} is true "
        f"from {_rows_of(segment)} where {is_theirs} or rejection_reason is not null"
    )
    affected: Affected = []
    while batch := rows.fetchmany(BATCH_ROWS):
        for line_number, payload, is_good in batch:
            text = clean.counted(payload) if is_good or clean.mentions(payload) else payload
            if text != payload:
                affected.append((line_number, text if is_good else None))
    return affected


def rewrite_segment(
    connection: duckdb.DuckDBPyConnection,
    entity: Entity,
    segment: Path,
    affected: Affected,
    origins: Sequence[Origin],
    aside: Path,
) -> None:
    """Write the segment with its affected records mended, and these origins, under its own name."""
    numbers, lines = zip(*affected, strict=True) if affected else ((), ())
    connection.register(
        "erased_lines",
        pa.table(
            {
                "line_number": pa.array(numbers, pa.int64()),
                "line": pa.array(lines, pa.string()),
                "problem": pa.nulls(len(numbers), pa.string()),
                "is_cut_off": pa.repeat(False, len(numbers)),
            }
        ),
    )
    source = _rows_of(segment)
    place = connection.execute(
        f"select source_file, received_at, loaded_at from {source} limit 1"
    ).fetchall() or [(None, None, None)]  # an earlier erasure may have left no record
    mended = segment_sql(entity, "(select * from erased_lines where line is not null)")
    target = aside / "segment"
    connection.execute(
        f"""
        copy (
            select * exclude (file_row_number) replace ({LINE_NUMBER} as line_number)
            from {source}
            where {LINE_NUMBER} not in (select line_number from erased_lines)
            union all by name
            select * from ({mended})
        ) to {literal(str(target))} ({copy_options(origins)})
        """,
        dict(zip(("source_file", "received_at", "loaded_at"), place[0], strict=True)),
    ).fetchall()
    connection.unregister("erased_lines")
    commit(target, segment)


def standing_origins(origins: Sequence[Origin], landing: Path) -> list[Origin]:
    """Return the origins whose content is still in the landing zone, one for each landing file.

    Of a file that is gone or has changed only the name is left, so that whatever comes under it is
    taken for changed.
    """
    standing = []
    for name in dict.fromkeys(origin.source_file for origin in origins):
        path = landing / name
        content = sha256_of(path) if path.is_file() else None
        standing.append(
            next(
                (
                    origin
                    for origin in reversed(origins)
                    if (origin.source_file, origin.sha256) == (name, content)
                ),
                Origin(name, FORGOTTEN, -1, -1),
            )
        )
    return standing


def _rows_of(segment: Path) -> str:
    return f"read_parquet({literal(str(segment))}, file_row_number = true)"
