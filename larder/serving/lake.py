"""The lake: each published generation as Parquet, to be read without the warehouse.

`generation=<name>/<table>/…parquet` below `LARDER_LAKE` (a folder or an `s3://` prefix), with
`athena.sql`. A file is never changed, and one whose rows have not changed since an earlier
generation wrote it is not written again: `current.json`, which names the generation, its tables and
their files, names it where it lies. New files lie below a prefix that nobody knows yet, are read
back and compared with the generation, and then `current.json` is put: that one file is the switch.
Whatever is killed, it names a whole generation.

The warehouse comes first: a lake that cannot be reached keeps its last generation, whole, and does
not keep readers of the warehouse from theirs. The next run brings it up to date.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from larder import warehouse
from larder.errors import WarehouseError
from larder.serving.generation_tables import CATALOG, open_generation
from larder.serving.generations import generations
from larder.serving.lake_athena import athena_ddl
from larder.serving.lake_contents import MANIFEST, KnownFiles, LakeContents
from larder.serving.lake_manifest import CURRENT, LakeGeneration, read_current
from larder.serving.lake_tables import (
    PART,
    LakeFile,
    LakeTable,
    Part,
    Shape,
    columns_of,
    file_name,
    parts_of,
    shape_of,
    write_part,
)
from larder.serving.places import Place, open_place
from larder.serving.publish import MARTS_SCHEMA
from larder.settings import Settings

ATHENA = "athena.sql"


def bring_up_to_date(settings: Settings) -> LakeGeneration | None:
    """Let the lake hold what readers of the warehouse have; null where there is no lake.

    Harmless when it does already. The caller holds the run lock. Generations that the warehouse no
    longer keeps leave the lake, too.

    Raises:
        WarehouseError: the lake cannot be used, or what was read back is not what was written;
            `current.json` then names what it did before.
    """
    if settings.lake is None:
        return None
    engine = generations(settings)
    name = engine.published_generation(settings)
    if name is None:
        return None
    with open_place(settings.lake, "LARDER_LAKE") as place, _aside(settings) as aside:
        current = read_current(place)
        contents = LakeContents(place)
        if current is None or current.generation != name:
            current = contents.standing(name) or _write(settings, contents, name, aside)
            _switch(place, current, aside)
            contents = LakeContents(place)
        else:
            _tell_athena(place, current, aside)
        kept = engine.list_generations(settings)
        contents.sweep({current.prefix, *contents.prefixes_of(kept)})
        return current


def open_table(url: str, table: str) -> ds.Dataset:
    """Open a table of the lake without the warehouse; `url` is a folder or an `s3://` prefix.

    What a fact is cut by is a column of text: the month of its date, such as 2019-04, as a column
    of its own, or its process_hour, such as 2019-04-30T22. Only files of the months or hours that
    are asked for are read.

    Raises:
        WarehouseError: there is no lake, it cannot be reached, or it has no such table.
    """
    with open_place(url, "the lake") as place:
        current = read_current(place)
        if current is None:
            raise WarehouseError(
                f"there is no lake at {url}: {CURRENT} is not there. `larder publish` with "
                "LARDER_LAKE writes it."
            )
        found = next((one for one in current.tables if one.name == table), None)
        if found is None:
            raise WarehouseError(
                f"there is no table {table} in the lake. There are: "
                f"{', '.join(one.name for one in current.tables)}."
            )
        return _open(place, found)


def rewrite_without(settings: Settings, marks: list[str]) -> list[str]:
    """Take people out of the lake, who have left the generations of the warehouse already.

    Of what readers have, the files that hold any of the marks are written anew, and no others;
    earlier generations that name such a file are removed, and written anew should a rollback go
    back to them. Returns what was rewritten or removed.

    Raises:
        WarehouseError: the lake cannot be used.
    """
    if settings.lake is None or not marks:
        return []
    with open_place(settings.lake, "LARDER_LAKE") as place, _aside(settings) as aside:
        contents = LakeContents(place)
        held = {one for one in contents.sizes if _holds(place, one, marks, aside)}
        if not held:
            return []
        gone = contents.prefixes_with(held)
        current = read_current(place)
        if current is not None and current.prefix in gone:
            name = generations(settings).published_generation(settings)
            if name is not None:
                _switch(place, _write(settings, contents, name, aside, held), aside)
            else:
                place.remove(CURRENT)
        elif current is not None:
            _tell_athena(place, current, aside)
        contents = LakeContents(place)
        contents.sweep(contents.whole - gone)
        return sorted(gone)


@contextmanager
def fetched_files(settings: Settings) -> Iterator[Iterator[tuple[str, Path]]]:
    """Give every file of the lake as a local copy, one after the other, to be searched."""
    with open_place(settings.lake or "", "LARDER_LAKE") as place, _aside(settings) as aside:

        def fetch() -> Iterator[tuple[str, Path]]:
            for name in place.names():
                copy = aside / f"searched{Path(name).suffix}"
                place.fetch(name, copy)
                yield f"{place.url}/{name}", copy

        yield fetch()


def _write(
    settings: Settings,
    contents: LakeContents,
    name: str,
    aside: Path,
    without: Container[str] = (),
) -> LakeGeneration:
    """Write what is new of a generation below a prefix that is not known yet, and read it back.

    No file `without` is taken over.
    """
    place, known = contents.place, contents.known_files(without)
    described = generations(settings).describe_generation(settings, name)
    prefix = contents.free_prefix(name)
    tables = []
    with open_generation(settings, name) as generation:
        for published in described.tables:
            with generation.holding(published.name):
                connection = generation.connection
                table = _write_table(connection, place, prefix, published.name, known, aside)
                # counted: somebody may have left since it was written down
                source = f"{CATALOG}.{MARTS_SCHEMA}.{warehouse.quoted(table.name)}"
                counted = connection.execute(f"select count(*) from {source}").fetchall()
                _require_equal(place, prefix, table, counted[0][0])
                tables.append(table)
    made = LakeGeneration(name, prefix, described.published_at, described.as_of_at, tuple(tables))
    ddl = "".join(f"{one};\n\n" for one in athena_ddl(place.url, prefix, name, made.tables))
    place.write(ddl, f"{prefix}/{ATHENA}", aside / "text")
    place.write(made.to_json(), f"{prefix}/{MANIFEST}", aside / "text")
    return made


def _write_table(
    connection: duckdb.DuckDBPyConnection,
    place: Place,
    prefix: str,
    name: str,
    known: KnownFiles,
    aside: Path,
) -> LakeTable:
    """Write those files of a table that no generation has written yet."""
    try:
        shape = shape_of(connection, CATALOG, name)
        files = [
            known.get((name, part.value, part.fingerprint))
            or _put(connection, place, prefix, shape, part, aside / PART)
            for part in parts_of(connection, shape)
        ]
    except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
        raise WarehouseError(
            f"{MARTS_SCHEMA}.{name} could not be written for the lake: {error}. The lake keeps "
            "what it had; make room and run `larder publish` again."
        ) from error
    partition = shape.cut.name if shape.cut else None
    return LakeTable(name, shape.columns, tuple(files), partition, shape.comments)


def _put(
    connection: duckdb.DuckDBPyConnection,
    place: Place,
    prefix: str,
    shape: Shape,
    part: Part,
    aside: Path,
) -> LakeFile:
    write_part(connection, shape, part, aside)
    name = f"{prefix}/{file_name(shape, part)}"
    place.put(aside, name)
    return LakeFile(name, part.rows, aside.stat().st_size, part.fingerprint, part.value)


def _require_equal(place: Place, prefix: str, table: LakeTable, rows: int) -> None:
    """Read new files back as any reader does, and compare columns and rows with the generation."""
    system, base = place.filesystem()
    found = 0
    for file in table.files:
        if not file.name.startswith(f"{prefix}/"):
            found += file.rows  # read back when it was written, and there in its size
            continue
        path = f"{base}/{file.name}"
        with system.open_input_file(path) as stream, pq.ParquetFile(stream) as parquet:
            found += parquet.metadata.num_rows
            is_equal = columns_of(parquet.schema_arrow, table.name) == table.columns
        if not is_equal:
            raise WarehouseError(
                f"{place.url}/{file.name} does not have the columns of {table.name} when it is "
                "read back. The lake keeps what it had. Run `larder publish` again."
            )
    if found != rows:
        raise WarehouseError(
            f"{table.name} has {rows:,} rows in the generation, but {found:,} were read back from "
            f"{place.url}. The lake keeps what it had. Run `larder publish` again."
        )


def _switch(place: Place, made: LakeGeneration, aside: Path) -> None:
    place.write(made.to_json(), CURRENT, aside / "text")
    _tell_athena(place, made, aside)


def _tell_athena(place: Place, current: LakeGeneration, aside: Path) -> None:
    """Put the DDL of what readers have, unless it is there; before a sweep, as one may be killed.

    An older one names files that the sweep removes.
    """
    ddl = place.read(f"{current.prefix}/{ATHENA}") or b""
    if place.read(ATHENA) != ddl:
        place.write(ddl.decode(), ATHENA, aside / "text")


def _open(place: Place, table: LakeTable) -> ds.Dataset:
    system, base = place.filesystem()
    paths = [f"{base}/{file.name}" for file in table.files]
    schema = ds.ParquetFileFormat().inspect(paths[0], system)
    parts = None
    if table.partition is not None:
        schema = schema.append(pa.field(table.partition, pa.string()))
        column = ds.field(table.partition)
        # a table without rows has one file of no month or hour
        parts = [
            column.is_null() if file.partition is None else column == file.partition
            for file in table.files
        ]
    return ds.FileSystemDataset.from_paths(
        paths,
        schema=schema,
        format=ds.ParquetFileFormat(),
        filesystem=system,
        partitions=parts,
    )


def _holds(place: Place, name: str, marks: list[str], aside: Path) -> bool:
    """Tell whether a file has one of the marks in a column of keys."""
    if not name.endswith(".parquet"):
        return False
    place.fetch(name, aside / "held.parquet")
    keys = [
        column
        for column in pq.read_schema(aside / "held.parquet").names
        if column.endswith(("_key", "_token"))
    ]
    if not keys:
        return False
    is_theirs = " or ".join(
        f"{warehouse.quoted(column)}::varchar in (select unnest($marks))" for column in keys
    )
    with duckdb.connect() as connection:
        found = connection.execute(
            f"select 1 from read_parquet($file, hive_partitioning = false) where {is_theirs} "
            "limit 1",
            {"marks": marks, "file": str(aside / "held.parquet")},
        ).fetchall()
    return bool(found)


@contextmanager
def _aside(settings: Settings) -> Iterator[Path]:
    """Give a folder to prepare files in; the caller holds the run lock, so leftovers are dead."""
    for leftover in settings.home.glob(".lake-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".lake-", dir=settings.home) as folder:
        yield Path(folder)
