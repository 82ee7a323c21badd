"""Send landing files again, at the pace at which their records came about, or faster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa

from larder.settings import Settings
from larder.stopping import Stopping
from larder.warehouse import literal, open_memory
from loaders.entities import read_entities
from loaders.landing import LandingFile
from loaders.sending.client import Client, SendingError
from loaders.sending.pacing import Due, Sender, Sending
from loaders.sending.records import LeftOut, batches_of, find_landing_files, moment_sql

_FETCHED: Final = 1_000


def replay(
    settings: Settings,
    client: Client,
    paths: Sequence[Path],
    speed: float,
    longest_pause: float,
    entity_path: str | None,
    say: Callable[[str], None],
    stopping: Stopping,
) -> Sending:
    """Send landing files at `speed` times their own pace; 0: as fast as the collector takes them.

    At a pace records go in the order of their moments, over all files, and no pause is longer than
    `longest_pause` seconds: a single clock that is years ahead would keep everybody waiting. At
    once they go in the order of the files.

    Raises:
        UsageError: a file is not there, or it is not known what it holds.
        SendingError: a file cannot be read, or the collector cannot be reached or refuses it.
    """
    files = find_landing_files(paths, entity_path)
    client.require_collector()
    left_out = LeftOut()
    sender = Sender(client, stopping)
    try:
        if speed == 0:
            is_whole = sender.send(_at_once(files, left_out))
        else:
            with open_memory(settings) as connection:
                _collect(connection, files, left_out)
                _set_times(connection, speed, longest_pause)
                say(_how_long(connection, speed))
                is_whole = sender.send(_at_pace(connection))
    except SendingError as error:
        taken = sum(one.records for one in sender.sent.values())
        raise SendingError(f"{error} Acknowledged before: {taken:,} records.") from None
    return Sending(sender.sent, left_out.lines, is_whole)


def _at_once(files: list[LandingFile], left_out: LeftOut) -> Iterator[Due]:
    for file in files:
        assert file.entity is not None
        for lines in batches_of(file, left_out):
            yield from (Due(0.0, file.entity, line.encode()) for line in lines)


def _collect(
    connection: duckdb.DuckDBPyConnection, files: list[LandingFile], left_out: LeftOut
) -> None:
    connection.execute("create table records (entity varchar, line varchar, moment timestamp)")
    for file in files:
        assert file.entity is not None
        for lines in batches_of(file, left_out):
            connection.register("batch", pa.table({"line": pa.array(lines, pa.string())}))
            connection.execute(
                f"insert into records select {literal(file.entity.path)}, line, "
                f"{moment_sql(file.entity)} from batch"
            )
            connection.unregister("batch")


def _set_times(connection: duckdb.DuckDBPyConnection, speed: float, longest_pause: float) -> None:
    """Say of each record after how many seconds it is sent; those without a moment come first."""
    connection.execute(
        """
        create table timed as
        select entity, line, moment, sum(pause) over sent as seconds, rowid as number
        from (
            select *, rowid,
                -- the least of nothing and a number would be the number
                least(
                    coalesce(epoch(moment - lag(moment) over sent) / $speed, 0), $longest_pause
                ) as pause
            from records
            window sent as (order by moment nulls first, rowid)
        )
        window sent as (order by moment nulls first, rowid)
        """,
        {"speed": speed, "longest_pause": longest_pause},
    )


def _how_long(connection: duckdb.DuckDBPyConnection, speed: float) -> str:
    ((records, seconds, lasts),) = connection.execute(
        "select count(*), coalesce(epoch(max(moment) - min(moment)), 0), "
        "coalesce(max(seconds), 0) from timed"
    ).fetchall()
    span, lasts = (timedelta(seconds=round(one)) for one in (seconds, lasts))
    return f"{records:,} records over {span}; at {speed:g} times their pace that takes {lasts}."


def _at_pace(connection: duckdb.DuckDBPyConnection) -> Iterator[Due]:
    entities = read_entities()
    rows = connection.execute(
        "select seconds, entity, line from timed order by seconds, moment nulls first, number"
    )
    while fetched := rows.fetchmany(_FETCHED):
        for seconds, entity, line in fetched:
            yield Due(seconds, entities[entity], line.encode())
