"""Rewrite a raw segment without a person."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa

from larder.warehouse import literal
from loaders.checks import segment_sql
from loaders.entities import Entity
from loaders.erasing.cleaner import Cleaner
from loaders.segments import Origin, commit, copy_options

BATCH_ROWS = 10_000


def rewrite_segment(
    connection: duckdb.DuckDBPyConnection,
    entity: Entity,
    segment: Path,
    origins: list[Origin],
    new_origins: list[Origin],
    clean: Cleaner,
    aside: Path,
) -> bool:
    """Write the segment without the person under its own name; tell whether it had to be."""
    tokens = ", ".join(literal(token) for token in clean.person.tokens) or "null"
    columns = [f"{domain}_token" for domain in clean.person.ids]
    is_theirs = " or ".join(f"{column} in ({tokens})" for column in columns)
    source = f"read_parquet({literal(str(segment))}, file_row_number = true)"
    rows = connection.execute(
        f"select coalesce(line_number, file_row_number + 1), payload, {is_theirs} is true "
        f"from {source} where {is_theirs} or rejection_reason is not null"
    )
    affected: list[tuple[int, str | None]] = []
    while batch := rows.fetchmany(BATCH_ROWS):
        for line_number, payload, is_good in batch:
            text = clean.counted(payload) if is_good or clean.mentions(payload) else payload
            if text != payload:
                affected.append((line_number, text if is_good else None))
    if not affected and not new_origins:
        return False
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
    place = connection.execute(
        f"select source_file, received_at, loaded_at from {source} limit 1"
    ).fetchall()
    mended = segment_sql(entity, "(select * from erased_lines where line is not null)")
    target = aside / "segment"
    connection.execute(
        f"""
        copy (
            select * exclude (file_row_number) replace (
                coalesce(line_number, file_row_number + 1) as line_number
            )
            from {source}
            where coalesce(line_number, file_row_number + 1) not in (
                select line_number from erased_lines
            )
            union all by name
            select * from ({mended})
        ) to {literal(str(target))} ({copy_options([*origins, *new_origins])})
        """,
        dict(zip(("source_file", "received_at", "loaded_at"), place[0], strict=True)),
    ).fetchall()
    connection.unregister("erased_lines")
    commit(target, segment)
    return True
