"""Search one file, also what compression hides in it."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterable
from pathlib import Path

import duckdb

from larder.warehouse import attach, literal, quoted
from loaders.landing import COMPRESSIONS
from loaders.readers.streams import open_plain


def contains(path: Path, needles: Iterable[bytes]) -> bool:
    """Tell whether any of the needles is in the file, with no word character on either side."""
    if path.stat().st_size == 0:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for needle in needles:
            if content.find(needle) < 0:
                continue
            if re.search(rb"(?<![\w-])" + re.escape(needle) + rb"(?![\w-])", content):
                return True
    return False


def pattern_of(texts: Iterable[str]) -> str:
    """Return what finds any of these texts, with no word character on either side."""
    return "|".join(rf"(?:^|[^\w-]){re.escape(text)}(?:[^\w-]|$)" for text in texts)


def is_found_inside(
    connection: duckdb.DuckDBPyConnection, file: Path, texts: list[str], raw: list[bytes]
) -> bool:
    """Search what compression hides from a search of the bytes."""
    if not texts:
        return False
    pattern = pattern_of(texts)
    if file.suffix == ".parquet":
        relation = f"read_parquet({literal(str(file))}, hive_partitioning = false)"
        return _is_in_relation(connection, relation, pattern)
    if file.suffix == ".duckdb":
        attach(connection, file, "searched", read_only=True)
        try:
            tables = connection.execute(
                "select schema_name, table_name from duckdb_tables() "
                "where database_name = 'searched'"
            ).fetchall()
            return any(
                _is_in_relation(connection, f"searched.{quoted(schema)}.{quoted(table)}", pattern)
                for schema, table in tables
            )
        finally:
            connection.execute("detach searched")
    if file.suffix in COMPRESSIONS:
        overlap = max(map(len, raw))
        with open_plain(file, file.suffix) as stream:
            tail = b""
            while chunk := stream.read(1024 * 1024):
                window = tail + chunk
                if any(needle in window for needle in raw):
                    return True
                tail = window[-overlap:]
    return False


def _is_in_relation(connection: duckdb.DuckDBPyConnection, relation: str, pattern: str) -> bool:
    rows = connection.execute(
        f"select 1 from {relation} as searched_row "
        "where regexp_matches(to_json(searched_row)::varchar, $pattern) limit 1",
        {"pattern": pattern},
    ).fetchall()
    return bool(rows)
