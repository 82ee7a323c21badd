"""The lake: each published generation as Parquet, to be read without the warehouse.

`generation=<name>/<table>/…parquet` below `LARDER_LAKE` (a folder or an `s3://` prefix), with
`athena.sql`. Files are written below a prefix that nobody knows yet, read back and compared with
the generation, and then `current.json`, which names the generation, its tables and its files, is
put: that one file is the switch. Whatever is killed, it names a whole generation.

The warehouse comes first: a lake that cannot be reached keeps its last generation, whole, and does
not keep readers of the warehouse from theirs. The next run brings it up to date.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from larder import warehouse
from larder.errors import WarehouseError
from larder.serving.generation_tables import CATALOG, open_generation
from larder.serving.generations import generations
from larder.serving.lake_manifest import CURRENT, LakeGeneration, read_current
from larder.serving.lake_tables import LakeTable, athena_ddl, columns_of, write_table
from larder.serving.places import Place, open_place
from larder.serving.publish import MARTS_SCHEMA
from larder.settings import Settings

ATHENA = "athena.sql"
# Hive and Athena leave names with a line at their beginning alone.
MANIFEST = "_manifest.json"


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
        if current is None or current.generation != name:
            current = _standing(place, name) or _write(settings, place, name, aside)
            _switch(place, current, aside)
        _sweep(place, current, engine.list_generations(settings))
        return current


def open_table(url: str, table: str) -> ds.Dataset:
    """Open a table of the lake without the warehouse; `url` is a folder or an `s3://` prefix.

    The month that a fact is cut by is a column of its own, text such as 2019-04.

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
        return _open(place, current.prefix, found)


def rewrite_without(settings: Settings, marks: list[str]) -> list[str]:
    """Take people out of the lake, who have left the generations of the warehouse already.

    What readers have is written anew; earlier generations that hold any of the marks are removed,
    and written anew should a rollback go back to them. Returns what was rewritten or removed.

    Raises:
        WarehouseError: the lake cannot be used.
    """
    if settings.lake is None or not marks:
        return []
    with open_place(settings.lake, "LARDER_LAKE") as place, _aside(settings) as aside:
        current = read_current(place)
        held = [prefix for prefix in _prefixes(place) if _holds(place, prefix, marks, aside)]
        if current is not None and current.prefix in held:
            name = generations(settings).published_generation(settings)
            if name is not None:
                _switch(place, _write(settings, place, name, aside), aside)
            else:
                place.remove(CURRENT)
        for prefix in held:
            place.remove(f"{prefix}/")
        return held


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


def _write(settings: Settings, place: Place, name: str, aside: Path) -> LakeGeneration:
    """Write a generation below a prefix that is not known yet, and read it back."""
    described = generations(settings).describe_generation(settings, name)
    taken = set(_prefixes(place, whole=True))
    prefix = f"generation={name}"
    for number in range(1, len(taken) + 2):
        if prefix not in taken:
            break
        prefix = f"generation={name}.{number}"  # after an erasure
    place.remove(f"{prefix}/")  # what a killed one has left
    tables = []
    with open_generation(settings, name) as generation:
        for published in described.tables:
            with generation.holding(published.name):
                table = _write_table(generation.connection, place, prefix, published.name, aside)
                # counted: somebody may have left since it was written down
                source = f"{CATALOG}.{MARTS_SCHEMA}.{warehouse.quoted(table.name)}"
                counted = generation.connection.execute(f"select count(*) from {source}")
                _require_equal(place, prefix, table, counted.fetchall()[0][0])
                tables.append(table)
    made = LakeGeneration(name, prefix, described.published_at, described.as_of_at, tuple(tables))
    ddl = "".join(f"{one};\n\n" for one in athena_ddl(f"{place.url}/{prefix}", name, made.tables))
    place.write(ddl, f"{prefix}/{ATHENA}", aside / "text")
    place.write(made.to_json(), f"{prefix}/{MANIFEST}", aside / "text")
    return made


def _write_table(
    connection: duckdb.DuckDBPyConnection, place: Place, prefix: str, name: str, aside: Path
) -> LakeTable:
    """Write a table of the generation below its prefix."""
    folder = aside / "tables"
    try:
        table = write_table(connection, CATALOG, name, folder)
        for file in table.files:
            place.put(folder / file.name, f"{prefix}/{file.name}")
        return table
    except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
        raise WarehouseError(
            f"{MARTS_SCHEMA}.{name} could not be written for the lake: {error}. The lake keeps "
            "what it had; make room and run `larder publish` again."
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _require_equal(place: Place, prefix: str, table: LakeTable, rows: int) -> None:
    """Read the files back as any reader does, and compare columns and rows with the generation."""
    system, base = place.filesystem()
    found = 0
    for file in table.files:
        path = f"{base}/{prefix}/{file.name}"
        with system.open_input_file(path) as stream, pq.ParquetFile(stream) as parquet:
            found += parquet.metadata.num_rows
            is_equal = columns_of(parquet.schema_arrow, table.name) == table.columns
        if not is_equal:
            raise WarehouseError(
                f"{place.url}/{prefix}/{file.name} does not have the columns of {table.name} when "
                "it is read back. The lake keeps what it had. Run `larder publish` again."
            )
    if found != rows:
        raise WarehouseError(
            f"{table.name} has {rows:,} rows in the generation, but {found:,} were read back from "
            f"{place.url}. The lake keeps what it had. Run `larder publish` again."
        )


def _switch(place: Place, made: LakeGeneration, aside: Path) -> None:
    ddl = place.read(f"{made.prefix}/{ATHENA}")
    place.write(made.to_json(), CURRENT, aside / "text")
    place.write((ddl or b"").decode(), ATHENA, aside / "text")


def _standing(place: Place, name: str) -> LakeGeneration | None:
    """Return a generation that is in the lake as a whole, such as one that is gone back to."""
    for prefix in _prefixes(place, whole=True):
        if prefix.removeprefix("generation=").partition(".")[0] == name:
            content = place.read(f"{prefix}/{MANIFEST}")
            if content:
                return LakeGeneration.from_json(content, f"{place.url}/{prefix}/{MANIFEST}")
    return None


def _prefixes(place: Place, *, whole: bool = False) -> list[str]:
    """Return where generations lie; `whole` leaves out what was never finished."""
    names = [name.split("/") for name in place.names("generation=")]
    return sorted({parts[0] for parts in names if not whole or parts[1:] == [MANIFEST]})


def _sweep(place: Place, current: LakeGeneration, kept: list[str]) -> None:
    """Remove generations that the warehouse keeps no more, and what was never finished."""
    whole = _prefixes(place, whole=True)
    for prefix in _prefixes(place):
        is_kept = prefix.removeprefix("generation=").partition(".")[0] in kept
        if prefix != current.prefix and not (is_kept and prefix in whole):
            # the manifest first: half of a generation must not be taken for a whole one
            place.remove(f"{prefix}/{MANIFEST}")
            place.remove(f"{prefix}/")


def _open(place: Place, prefix: str, table: LakeTable) -> ds.Dataset:
    system, base = place.filesystem()
    return ds.dataset(
        [f"{base}/{prefix}/{file.name}" for file in table.files],
        filesystem=system,
        format="parquet",
        partitioning=ds.partitioning(flavor="hive"),
        partition_base_dir=f"{base}/{prefix}/{table.name}",
    )


def _holds(place: Place, prefix: str, marks: list[str], aside: Path) -> bool:
    """Tell whether any file below the prefix has one of the marks in a column of keys."""
    for name in place.names(f"{prefix}/"):
        if not name.endswith(".parquet"):
            continue
        place.fetch(name, aside / "held.parquet")
        keys = [
            column
            for column in pq.read_schema(aside / "held.parquet").names
            if column.endswith(("_key", "_token"))
        ]
        if not keys:
            continue
        is_theirs = " or ".join(
            f"{warehouse.quoted(column)}::varchar in (select unnest($marks))" for column in keys
        )
        with duckdb.connect() as connection:
            found = connection.execute(
                f"select 1 from read_parquet($file) where {is_theirs} limit 1",
                {"marks": marks, "file": str(aside / "held.parquet")},
            ).fetchall()
        if found:
            return True
    return False


@contextmanager
def _aside(settings: Settings) -> Iterator[Path]:
    """Give a folder to prepare files in; the caller holds the run lock, so leftovers are dead."""
    for leftover in settings.home.glob(".lake-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".lake-", dir=settings.home) as folder:
        yield Path(folder)
