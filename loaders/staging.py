"""The way of rows into Snowflake: a Parquet file is put on a stage and copied into its table.

Nothing of a person stands in a statement: Snowflake keeps the text of each for a year.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from larder.errors import WarehouseError
from larder.settings import Settings
from larder.snowflake import fetch
from larder.warehouse import literal
from loaders.asides import make_aside, remove_aside

if TYPE_CHECKING:
    from snowflake.connector import SnowflakeConnection

FILE_FORMAT = "file_format = (type = parquet use_logical_type = true)"


def own_place(settings: Settings, stage: str) -> str:
    """Name the place on a stage that only uploads of this home use, one at a time."""
    home = f"{socket.gethostname()} {settings.home}"
    return f"@{stage}/{sha256(home.encode()).hexdigest()[:16]}"


@contextmanager
def staged(connection: SnowflakeConnection, place: str, folder: Path) -> Iterator[str]:
    """Put the files of a folder on the stage, under a name never used before; then remove them."""
    stage = f"{place}/{uuid4().hex}"
    for file in sorted(folder.iterdir()):
        fetch(
            connection,
            f"put {literal(file.as_uri())} {stage} auto_compress = false overwrite = true",
        )
    yield stage
    fetch(connection, f"remove {stage}")


@contextmanager
def transaction(connection: SnowflakeConnection) -> Iterator[None]:
    """Commit what the block does, or nothing of it."""
    fetch(connection, "begin")
    try:
        yield
    except BaseException:
        with suppress(Exception):  # it ends with the session in any case
            connection.rollback()
        raise
    fetch(connection, "commit")


def copy_into(connection: SnowflakeConnection, table: str, file: str, rows: int) -> None:
    """Copy a staged file into a table, or raise: a file that is not there is no error of COPY.

    Raises:
        WarehouseError: not all rows have arrived.
    """
    from snowflake.connector import DictCursor

    with connection.cursor(DictCursor) as cursor:
        cursor.execute(
            f"copy into {table} from {file} {FILE_FORMAT} match_by_column_name = case_insensitive"
        )
        copied = sum(int(one.get("rows_loaded") or 0) for one in cursor.fetchall())
    if copied != rows:
        raise WarehouseError(
            f"{copied:,} of {rows:,} rows arrived in {table}, so none was taken: somebody has "
            "emptied the stage meanwhile. Run again."
        )


@contextmanager
def temporary_table(
    settings: Settings, connection: SnowflakeConnection, schema: str, place: str, rows: pa.Table
) -> Iterator[str]:
    """Give texts as a temporary table of the schema, which only this session sees."""
    name = f"{schema}.sent_{uuid4().hex}"
    columns = ", ".join(f"{column} varchar" for column in rows.column_names)
    aside = make_aside(settings.raw_folder)
    try:
        pq.write_table(rows, aside / "rows.parquet")
        fetch(connection, f"create temporary table {name} ({columns})")
        with staged(connection, place, aside) as stage:
            copy_into(connection, name, f"{stage}/rows.parquet", rows.num_rows)
    finally:
        remove_aside(aside)
    try:
        yield name
    finally:
        with suppress(Exception):  # it ends with the session in any case
            fetch(connection, f"drop table if exists {name}")
