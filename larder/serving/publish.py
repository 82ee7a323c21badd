"""Publish the marts of a finished build as a new generation, or go back to an earlier one.

A generation is a folder `generations/<name>/` that holds one file, `larder.duckdb`: DuckDB names a
catalog after the real file, so every generation must be called the same for a client's qualified
names (`larder.marts.fct_sales`) to live longer than one generation. It is written under a hidden
name, synced and renamed; then the link `LARDER_HOME/larder.duckdb` is re-pointed in one rename.
Whatever is killed, the link points to a whole generation, the old one or the new one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from larder import warehouse
from larder.errors import WarehouseError
from larder.lock import hold
from larder.settings import Settings
from larder.warehouse import METADATA_TABLE, literal, quoted

MARTS_SCHEMA = "marts"
KEPT_GENERATIONS = 3
FILE_NAME = f"{warehouse.PUBLISHED_CATALOG}.duckdb"
_STAMP = "%Y%m%dT%H%M%S%fZ"
_BUILD, _NEW, _WRITTEN = "build", "larder_new_generation", "larder_written_generation"


@dataclass(frozen=True)
class PublishedTable:
    """Name one published table and its rows."""

    name: str
    rows: int


@dataclass(frozen=True)
class Publication:
    """Describe one generation: instants in UTC, size in bytes.

    `replaced` is the generation that the link pointed to before, null when there was none or
    when nothing was re-pointed.
    """

    generation: str
    path: Path
    published_at: datetime
    as_of_at: datetime | None
    tables: tuple[PublishedTable, ...]
    size_bytes: int
    replaced: str | None = None

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        return {
            **asdict(self),
            "path": str(self.path),
            "published_at": self.published_at.isoformat(),
            "as_of_at": self.as_of_at.isoformat() if self.as_of_at else None,
            "tables": [asdict(table) for table in self.tables],
        }


@dataclass(frozen=True)
class _Column:
    name: str
    data_type: str
    is_nullable: bool
    comment: str | None


@dataclass(frozen=True)
class _Table:
    name: str
    comment: str | None
    columns: tuple[_Column, ...]


def publish(settings: Settings, now: datetime, *, as_of_at: datetime | None = None) -> Publication:
    """Copy the marts of the build to a new generation and point the link to it.

    `now` names the generation; `as_of_at` (default: `LARDER_AS_OF`) is only written down. Views
    become tables. Generations that `rollback` went back from are removed, and of the rest the
    last three stay.

    Raises:
        WarehouseError: nothing is built, the build has no marts, a copy is not equal to its
            source, or the disk is full. The link is then as it was.
        WarehouseBusyError: the build is being written, or another publication is going on.
    """
    warehouse.require_build(settings)
    _refuse_a_foreign_file(settings.published_database)
    with _publishing(settings):
        existing = list_generations(settings)
        replaced = published_generation(settings)
        _sweep_leftovers(settings)
        name = next_name(now, existing[0] if existing else None)
        partial = settings.generations_folder / f".{name}.partial"
        partial.mkdir()
        try:
            _write(settings, partial / FILE_NAME, name, now, as_of_at or settings.as_of)
            sync(partial / FILE_NAME)
            sync(partial)
            partial.rename(settings.generations_folder / name)
        except (duckdb.IOException, duckdb.OutOfMemoryException, OSError) as error:
            raise WarehouseError(
                f"the marts could not be copied to {settings.generations_folder}: {error}. "
                "What was published before still is; make room and run `larder publish` again."
            ) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        sync(settings.generations_folder)
        _point_to(settings, name)
        _sweep_generations(settings, existing, name, replaced)
        return describe_generation(settings, name, replaced=replaced)


def rollback(settings: Settings) -> Publication:
    """Point the link to the generation before the present one.

    The newer one stays until the next publication. The result's `replaced` is where it came from.

    Raises:
        WarehouseError: nothing is published, there is no earlier generation, or it is damaged.
        WarehouseBusyError: a publication is going on.
    """
    warehouse.resolve_published(settings)
    with _publishing(settings):
        present = published_generation(settings)
        earlier = [name for name in list_generations(settings) if present and name < present]
        if not earlier:
            raise WarehouseError(
                f"there is no generation before {present} in {settings.generations_folder} "
                f"(the last {KEPT_GENERATIONS} are kept), so there is nothing to go back to."
            )
        publication = describe_generation(settings, earlier[0], replaced=present)
        _point_to(settings, earlier[0])
        return publication


def list_generations(settings: Settings) -> list[str]:
    """List the names of the whole generations, newest first."""
    folder = settings.generations_folder
    if not folder.is_dir():
        return []
    names = [entry.name for entry in folder.iterdir() if not entry.name.startswith(".")]
    return sorted((name for name in names if (folder / name / FILE_NAME).is_file()), reverse=True)


def published_generation(settings: Settings) -> str | None:
    """Return the generation that the link points to, or null when nothing is published."""
    if not settings.published_database.is_symlink():
        return None
    return settings.published_database.readlink().parent.name


def generation_file(settings: Settings, name: str) -> Path:
    """Return the database file of a generation."""
    return settings.generations_folder / name / FILE_NAME


def describe_generation(
    settings: Settings, name: str, *, replaced: str | None = None
) -> Publication:
    """Read what a generation says about itself.

    Raises:
        WarehouseError: it is not a generation or cannot be opened.
    """
    file = generation_file(settings, name)
    with warehouse.open_memory(settings) as connection:
        warehouse.attach(connection, file, _WRITTEN, read_only=True)
        rows = connection.execute(
            "select published_at, as_of_at, table_name, row_count "
            f"from {_WRITTEN}.main.{METADATA_TABLE} order by table_name"
        ).fetchall()
    as_of_at = rows[0][1]
    return Publication(
        generation=name,
        path=file,
        published_at=rows[0][0].replace(tzinfo=UTC),
        as_of_at=as_of_at.replace(tzinfo=UTC) if as_of_at else None,
        tables=tuple(PublishedTable(row[2], row[3]) for row in rows),
        size_bytes=file.stat().st_size,
        replaced=replaced,
    )


def next_name(now: datetime, newest: str | None) -> str:
    """Name a generation after its instant, and always after the newest one, whatever the clock."""
    stamp = now.astimezone(UTC).strftime(_STAMP)
    if newest is None or stamp > newest.rpartition("-")[0]:
        return f"{stamp}-0000"
    newest_stamp, _, counter = newest.rpartition("-")
    return f"{newest_stamp}-{int(counter) + 1:04d}"


def _withdrawn(existing: Sequence[str], replaced: str | None) -> list[str]:
    """Return the generations that were gone back from, or that never got the link."""
    if (
        replaced is None or replaced not in existing
    ):  # a first publication, or somebody removed it by hand
        return []
    return [name for name in existing if name > replaced]


def expired(existing: Sequence[str], name: str, replaced: str | None) -> list[str]:
    """Return the generations to remove once the link points to `name`."""
    withdrawn = _withdrawn(existing, replaced)
    in_order = [name, *(old for old in existing if old not in withdrawn)]
    return [*withdrawn, *in_order[KEPT_GENERATIONS:]]


@contextmanager
def _publishing(settings: Settings) -> Iterator[None]:
    """Keep a second publication or rollback out, so that every leftover found is a dead one."""
    settings.generations_folder.mkdir(parents=True, exist_ok=True)
    lock = settings.generations_folder / ".lock"
    with hold(lock, "publish", settings.lock_wait_seconds):
        yield


def _write(
    settings: Settings, file: Path, name: str, now: datetime, as_of_at: datetime | None
) -> None:
    with warehouse.open_memory(settings) as connection:
        warehouse.attach(connection, settings.build_database, _BUILD, read_only=True)
        # what a view names without its catalog is found in the build
        connection.execute(f"use {_BUILD}")
        tables = _describe(connection, _BUILD)
        if not tables:
            raise WarehouseError(
                f"{settings.build_database} has no tables in its schema {MARTS_SCHEMA}, so there "
                "is nothing to publish. `larder build` makes them."
            )
        version = warehouse.PUBLISHED_STORAGE_VERSION
        warehouse.attach(connection, file, _NEW, read_only=False, storage_version=version)
        connection.execute(f"create schema {_NEW}.{MARTS_SCHEMA}")
        rows = {table.name: _copy(connection, table) for table in tables}
        _write_metadata(connection, name, now, as_of_at, rows)
        connection.execute(f"checkpoint {_NEW}")
        connection.execute(f"detach {_NEW}")
        warehouse.attach(connection, file, _WRITTEN, read_only=True)
        _require_equal(tables, _describe(connection, _WRITTEN), rows, connection)


def _copy(connection: duckdb.DuckDBPyConnection, table: _Table) -> int:
    """Copy one table or view with its comments and NOT NULL constraints; return its rows."""
    source = _qualified(_BUILD, table.name)
    target = _qualified(_NEW, table.name)
    connection.execute(f"create table {target} as from {source} with no data")
    for column in table.columns:
        if not column.is_nullable:
            connection.execute(f"alter table {target} alter {quoted(column.name)} set not null")
    if table.comment is not None:
        connection.execute(f"comment on table {target} is {literal(table.comment)}")
    for column in table.columns:
        if column.comment is not None:
            connection.execute(
                f"comment on column {target}.{quoted(column.name)} is {literal(column.comment)}"
            )
    try:
        return int(connection.execute(f"insert into {target} from {source}").fetchall()[0][0])
    except (duckdb.IOException, duckdb.OutOfMemoryException):
        raise  # the machine's fault, not the model's
    except duckdb.Error as error:
        raise WarehouseError(
            f"{MARTS_SCHEMA}.{table.name} cannot be read, so nothing was published: {error}. Mend "
            "its model, then run `larder build` and `larder publish`."
        ) from error


def _write_metadata(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    now: datetime,
    as_of_at: datetime | None,
    rows: dict[str, int],
) -> None:
    target = f"{_NEW}.main.{METADATA_TABLE}"
    connection.execute(
        f"create table {target} (generation varchar not null, published_at timestamp not null, "
        "as_of_at timestamp, table_name varchar not null, row_count bigint not null)"
    )
    published_at = now.astimezone(UTC).replace(tzinfo=None)
    as_of = as_of_at.astimezone(UTC).replace(tzinfo=None) if as_of_at else None
    connection.executemany(
        f"insert into {target} values (?, ?, ?, ?, ?)",
        [[name, published_at, as_of, table, count] for table, count in sorted(rows.items())],
    )


def _describe(connection: duckdb.DuckDBPyConnection, catalog: str) -> list[_Table]:
    columns: dict[str, list[_Column]] = {}
    for table, *column in connection.execute(
        "select table_name, column_name, data_type, is_nullable, comment from duckdb_columns() "
        "where database_name = ? and schema_name = ? and not internal "
        "order by table_name, column_index",
        [catalog, MARTS_SCHEMA],
    ).fetchall():
        columns.setdefault(table, []).append(_Column(*column))
    comments = dict(
        connection.execute(
            "select table_name, comment from duckdb_tables() "
            "where database_name = $catalog and schema_name = $schema "
            "union all select view_name, comment from duckdb_views() "
            "where database_name = $catalog and schema_name = $schema",
            {"catalog": catalog, "schema": MARTS_SCHEMA},
        ).fetchall()
    )
    return [
        _Table(name, comments.get(name), tuple(found)) for name, found in sorted(columns.items())
    ]


def _require_equal(
    sources: Sequence[_Table],
    copies: Sequence[_Table],
    copied_rows: dict[str, int],
    connection: duckdb.DuckDBPyConnection,
) -> None:
    if list(sources) != list(copies):
        different = sorted({table.name for table in {*sources}.symmetric_difference({*copies})})
        raise WarehouseError(
            f"the copies of {', '.join(different)} do not have the columns of their sources, so "
            "they were not published. This is a fault of Larder: please report it."
        )
    for table in sources:
        counts = {
            copied_rows[table.name],
            *(_count(connection, catalog, table.name) for catalog in (_BUILD, _WRITTEN)),
        }
        if len(counts) > 1:
            raise WarehouseError(
                f"the copy of {MARTS_SCHEMA}.{table.name} does not have the rows of its source, "
                "so it was not published. Its model gives other rows each time it is read: "
                "materialise it as a table, or give it a fixed order before any limit."
            )


def _count(connection: duckdb.DuckDBPyConnection, catalog: str, table: str) -> int:
    query = f"select count(*) from {_qualified(catalog, table)}"
    return int(connection.execute(query).fetchall()[0][0])


def _qualified(catalog: str, table: str) -> str:
    return f"{catalog}.{MARTS_SCHEMA}.{quoted(table)}"


def _point_to(settings: Settings, name: str) -> None:
    """Re-point the link in one rename; it is relative, so that the home folder can be moved."""
    link = settings.published_database
    aside = link.with_name(f".{link.name}.{name}.link")
    aside.unlink(missing_ok=True)
    aside.symlink_to(generation_file(settings, name).relative_to(link.parent))
    aside.replace(link)
    sync(link.parent)


def _refuse_a_foreign_file(link: Path) -> None:
    if link.exists() and not link.is_symlink():
        raise WarehouseError(
            f"{link} is a file of its own, not the link that Larder publishes through. Move it "
            "away and run again."
        )


def _sweep_leftovers(settings: Settings) -> None:
    """Remove what killed publications left; the caller holds the lock, so nobody writes them."""
    link = settings.published_database
    for aside in link.parent.glob(f".{link.name}.*.link"):
        aside.unlink(missing_ok=True)
    for folder in settings.generations_folder.glob(".*"):
        if folder.name.endswith((".partial", ".removed")):
            shutil.rmtree(folder, ignore_errors=True)


def _sweep_generations(
    settings: Settings, existing: Sequence[str], name: str, replaced: str | None
) -> None:
    for old in expired(existing, name, replaced):
        # first hidden in one step: a kill in between must not leave half of a generation
        removed = settings.generations_folder / f".{old}.removed"
        (settings.generations_folder / old).rename(removed)
        shutil.rmtree(removed, ignore_errors=True)


def sync(path: Path) -> None:
    """Make a file, or what a folder lists, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
