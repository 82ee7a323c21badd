"""Rewrite a raw segment without a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from larder.warehouse import literal
from loaders.checks import segment_sql
from loaders.entities import Entity
from loaders.erasing.cleaner import Cleaner
from loaders.landing import sha256_of
from loaders.segments import Origin, commit, copy_options, read_parts

BATCH_ROWS = 10_000
# The loader leaves the number out where it is the row's place in the file.
LINE_NUMBER = "coalesce(held.line_number, file_row_number + 1)"
# Stands for the hash of a content that held the person; no content has it.
FORGOTTEN = "forgotten"


Affected = list[tuple[int, str | None]]
"""Rows of a segment, from 0, each with the record without the person, or null for nothing left."""


def find_affected(connection: duckdb.DuckDBPyConnection, segment: Path, clean: Cleaner) -> Affected:
    """Return the records of a segment that the person is in."""
    tokens = ", ".join(literal(token) for token in clean.person.tokens) or "null"
    columns = [f"{domain}_token" for domain in clean.person.ids]
    is_theirs = " or ".join(f"{column} in ({tokens})" for column in columns)
    rows = connection.execute(
        f"select file_row_number, payload, {is_theirs} is true "
        f"from {_rows_of(segment)} where {is_theirs} or rejection_reason is not null"
    )
    affected: Affected = []
    while batch := rows.fetchmany(BATCH_ROWS):
        for row, payload, is_good in batch:
            text = clean.counted(payload) if is_good or clean.mentions(payload) else payload
            if text != payload:
                affected.append((row, text if is_good else None))
    return affected


def rewrite_segment(
    connection: duckdb.DuckDBPyConnection,
    entity: Entity,
    segment: Path,
    affected: Affected,
    origins: Sequence[Origin],
    aside: Path,
) -> dict[str, str]:
    """Write the segment with its affected records mended, and these origins, under its own name.

    Returns the content hash of each mended record by the one that it had with the person.
    """
    rows, lines = zip(*affected, strict=True) if affected else ((), ())
    connection.register(
        "erased",
        pa.table({"row": pa.array(rows, pa.int64()), "line": pa.array(lines, pa.string())}),
    )
    source = _rows_of(segment)
    connection.execute(
        f"create or replace temp table unmended as select {LINE_NUMBER} as line_number, line, "
        "null::varchar as problem, false as is_cut_off, source_file, received_at, loaded_at "
        f"from {source} inner join erased on file_row_number = row where line is not null"
    )
    of_one_file = (
        "(select * from unmended where (source_file, received_at, loaded_at) "
        "= ($source_file, $received_at, $loaded_at))"
    )
    connection.execute(
        f"create or replace temp table mended as select * exclude (file_row_number) "
        f"from {source} limit 0"
    )
    # a compacted segment is made from several files
    for place in connection.execute(
        "select distinct source_file, received_at, loaded_at from unmended"
    ).fetchall():
        connection.execute(
            f"insert into mended by name {segment_sql(entity, of_one_file)}",
            dict(zip(("source_file", "received_at", "loaded_at"), place, strict=True)),
        )
    target = aside / "segment"
    connection.execute(
        f"""
        copy (
            select * exclude (file_row_number) replace ({LINE_NUMBER} as line_number)
            from {source}
            where file_row_number not in (select row from erased)
            union all by name
            from mended
        ) to {literal(str(target))} ({copy_options(origins, read_parts(segment))})
        """
    ).fetchall()
    rehashed = connection.execute(
        f"select held.content_hash, mended.content_hash from {source} "
        "inner join erased on held.file_row_number = erased.row inner join mended on "
        f"(mended.source_file, mended.line_number) = (held.source_file, {LINE_NUMBER})"
    ).fetchall()
    connection.unregister("erased")
    commit(target, segment)
    return dict(rehashed)


def standing_origins(origins: Sequence[Origin], landed: Mapping[str, Path]) -> list[Origin]:
    """Return the origins whose content is still in the landing zone, one for each landing file.

    `landed` has the path of each landing file by its name, which escapes what is not UTF-8. Of a
    file that is gone or has changed only the name is left, so that whatever comes under it is taken
    for changed.
    """
    standing = []
    for name in dict.fromkeys(origin.source_file for origin in origins):
        path = landed.get(name)
        content = sha256_of(path) if path is not None and path.is_file() else None
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
    return f"read_parquet({literal(str(segment))}, file_row_number = true) as held"
