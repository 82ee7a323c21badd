"""Rewrite a raw segment without a person."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from larder.warehouse import literal
from loaders.asides import commit
from loaders.checks import segment_sql, typed_fields_sql
from loaders.entities import Entity, token_columns
from loaders.erasing.cleaner import Cleaner
from loaders.erasing.person import Person
from loaders.ledger import Origin, read_parts
from loaders.segments import copy_options, segment_rows

BATCH_ROWS = 10_000
# The loader leaves the number out where it is the row's place in the file.
LINE_NUMBER = "coalesce(held.line_number, file_row_number + 1)"
# Stands for the hash of a content that held the person; no content has it.
FORGOTTEN = "forgotten"


Affected = list[tuple[int, str | None]]
"""Rows of a segment, from 0, each with the record without the person, or null for nothing left."""


def find_affected(connection: duckdb.DuckDBPyConnection, segment: Path, clean: Cleaner) -> Affected:
    """Return the records of a segment that the person is in."""
    is_theirs = _is_theirs(clean.person)
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


def find_contested(
    connection: duckdb.DuckDBPyConnection,
    entity: Entity,
    segments: Sequence[Path],
    person: Person,
) -> set[str]:
    """Return the content hashes of the person's records of which there are other contents.

    Those of a thing have the same `updated_at`: without the person another one may hold, or two may
    be the same.
    """
    if not segments:
        return set()
    version = "updated_at" if entity.is_thing else "null"
    return {
        content_hash
        for (content_hash,) in connection.execute(
            f"""
            with records as (
                select * from {segment_rows(segments)}
                where rejection_reason is null and payload is not null
            ),
            candidates as (
                select payload as line, natural_key as record_key, content_hash as record_hash
                from records
                where natural_key in (select natural_key from records where {_is_theirs(person)})
            ),
            versions as ({typed_fields_sql(entity, "candidates")})
            select record_hash
            from versions
            window copies as (partition by record_key, {version})
            qualify min(record_hash) over copies <> max(record_hash) over copies
            """
        ).fetchall()
    }


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


def standing_origins(
    origins: Sequence[Origin], content_of: Callable[[str], str | None]
) -> list[Origin]:
    """Return the origins whose content is still in the landing zone, one for each landing file.

    `content_of` gives the SHA-256 of the landing file of a name, null if there is none. Of a file
    that is gone or has changed only the name is left, so that whatever comes under it is taken for
    changed.
    """
    standing = []
    for name in dict.fromkeys(origin.source_file for origin in origins):
        content = content_of(name)
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


def _is_theirs(person: Person) -> str:
    tokens = ", ".join(literal(token) for token in person.tokens) or "null"
    return " or ".join(f"{column} in ({tokens})" for column in token_columns())


def _rows_of(segment: Path) -> str:
    return f"{segment_rows([segment])} as held"
