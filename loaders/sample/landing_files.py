"""Write tables into the landing zone in every format of the contract, whole or not at all."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Final, Self

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

ROWS_A_FILE: Final = 400_000
"""A file is closed at its period's end, or earlier at this size: memory stays bounded."""

_INSTANT_FORMAT: Final = "%Y-%m-%dT%H:%M:%S.%gZ"
_COMPRESSIONS: Final = {".gz": "gzip", ".zst": "zstd"}


@dataclass
class LandingFiles:
    """Write files below one folder; a file that is there already is left as it is.

    Instants are `timestamp[ms]` columns in UTC. Lists become JSON text in CSV.
    """

    folder: Path
    files: int = 0
    records: dict[str, int] = field(default_factory=dict)
    _connection: duckdb.DuckDBPyConnection = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._connection = duckdb.connect()
        # DuckDB would draw it into standard output when a file takes long
        self._connection.execute("set enable_progress_bar = false")
        # One thread: block boundaries inside compressed files must not hang on scheduling.
        self._connection.execute("set threads = 1")
        self._connection.execute("set preserve_insertion_order = true")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()

    def write(self, relative: str, table: pa.Table) -> None:
        """Write a table to `<folder>/<relative>`; the ending of the name decides the format."""
        target, aside = self._begin(relative, table.num_rows)
        if aside is None:
            return
        endings = PurePosixPath(relative).suffixes
        if endings[-1] == ".parquet":
            pq.write_table(_with_zone(table), aside, compression="zstd")
        else:
            self._copy_text(table, aside, endings)
        aside.rename(target)

    def write_text(self, relative: str, lines: list[str]) -> None:
        """Write lines as they are: nested records, broken ones; as an array where it ends so."""
        target, aside = self._begin(relative, len(lines))
        if aside is None:
            return
        endings = PurePosixPath(relative).suffixes
        text = "".join(f"{line}\n" for line in lines)
        if endings[-1] == ".json":
            text = "[" + ",\n".join(lines) + "]\n"
        compression = _COMPRESSIONS.get(endings[-1])
        with pa.output_stream(str(aside), compression=compression, buffer_size=None) as stream:
            stream.write(text.encode())
        aside.rename(target)

    def lines(self, table: pa.Table) -> list[str]:
        """Return the NDJSON lines that `write` would write for a table."""
        self._connection.register("rows_to_write", table)
        rows = self._connection.execute(
            f"select to_json(line)::varchar from (select {_star(table)} from rows_to_write) as line"
        ).fetchall()
        self._connection.unregister("rows_to_write")
        return [row[0] for row in rows]

    def _begin(self, relative: str, rows: int) -> tuple[Path, Path | None]:
        entity = "/".join(relative.split("/")[:2])
        self.files += 1
        self.records[entity] = self.records.get(entity, 0) + rows
        target = self.folder / relative
        if target.exists():
            return target, None
        target.parent.mkdir(parents=True, exist_ok=True)
        return target, target.with_name(f"{target.name}.tmp")

    def _copy_text(self, table: pa.Table, aside: Path, endings: list[str]) -> None:
        compression = _COMPRESSIONS.get(endings[-1], "none")
        kind = endings[-1] if compression == "none" else endings[-2]
        options = [f"compression {compression}"]
        is_csv = kind == ".csv"
        if is_csv:
            options += ["format csv", "header true"]
        else:
            options += ["format json", f"array {'true' if kind == '.json' else 'false'}"]
        self._connection.register("rows_to_write", table)
        quoted = str(aside).replace("'", "''")
        select = f"select {_star(table, lists_as_text=is_csv)} from rows_to_write"
        self._connection.execute(f"copy ({select}) to '{quoted}' ({', '.join(options)})")
        self._connection.unregister("rows_to_write")


def _star(table: pa.Table, *, lists_as_text: bool = False) -> str:
    """Return a select list that writes instants in ISO 8601 and, for CSV, lists as JSON."""
    replaced = []
    for one in table.schema:
        if pa.types.is_timestamp(one.type):
            replaced.append(f'strftime("{one.name}", \'{_INSTANT_FORMAT}\') as "{one.name}"')
        elif lists_as_text and pa.types.is_list(one.type):
            replaced.append(f'to_json("{one.name}")::varchar as "{one.name}"')
    return f"* replace ({', '.join(replaced)})" if replaced else "*"


def _with_zone(table: pa.Table) -> pa.Table:
    """Return the table with instants marked as UTC, as a careful sender of Parquet would."""
    schema = pa.schema(
        [
            pa.field(one.name, pa.timestamp("ms", tz="UTC"))
            if pa.types.is_timestamp(one.type)
            else one
            for one in table.schema
        ]
    )
    return table.cast(schema)


@dataclass
class PeriodFiles:
    """Collect day tables of one entity and write them a week at a time, later day by day.

    The formats take turns, so that all of them occur; names tell the local dates inside.
    """

    files: LandingFiles
    entity: str
    days: int
    weekly_endings: tuple[str, ...]
    daily_endings: tuple[str, ...] = ()
    daily_from: int = 10**9
    _tables: list[pa.Table] = field(default_factory=list)
    _first: str = ""
    _number: int = 0

    def add(self, day: int, on: str, table: pa.Table) -> None:
        """Add the table of one local day; days come in order."""
        if not self._tables:
            self._first = on
        self._tables.append(table)
        daily = bool(self.daily_endings) and day >= self.daily_from
        rows = sum(one.num_rows for one in self._tables)
        last = day + 1 >= self.days
        starts_daily = bool(self.daily_endings) and day + 1 == self.daily_from
        if daily or last or starts_daily or day % 7 == 6 or rows >= ROWS_A_FILE:
            self._flush(on, daily)

    def _flush(self, last: str, daily: bool) -> None:
        endings = self.daily_endings if daily else self.weekly_endings
        ending = endings[self._number % len(endings)]
        name = last if self._first == last else f"{self._first}_{last}"
        table = pa.concat_tables(self._tables)
        self._tables = []
        self._number += 1
        if table.num_rows:
            self.files.write(f"{self.entity}/{name}{ending}", table)
