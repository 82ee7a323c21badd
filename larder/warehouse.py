"""The one place that opens a warehouse: memory, the build that dbt writes, the published marts."""

from __future__ import annotations

import os
import shutil
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import duckdb

from larder.errors import WarehouseBusyError, WarehouseError
from larder.settings import Settings

PUBLISHED_CATALOG = "larder"
# where a generation says what it is, and how many rows each of its tables has
METADATA_TABLE = "larder_generation"
# The oldest storage format; every DuckDB 1.x reads it, and so does 2.x.
PUBLISHED_STORAGE_VERSION = "v1.0.0"
# A generation may be swept between following the link and opening the file, when the reader
# slept through three publishes: follow the link again.
OPEN_ATTEMPTS = 5

T = TypeVar("T")


@contextmanager
def open_memory(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open an empty in-memory database that spills under the home folder; its time zone is UTC."""
    with _open(":memory:", settings, f"memory-{uuid.uuid4().hex}") as connection:
        yield connection


@contextmanager
def open_build(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the database that dbt builds, to read it; its time zone is UTC.

    Raises:
        WarehouseError: nothing has been built yet.
        WarehouseBusyError: another process writes it.
    """
    require_build(settings)
    with _busy_is_our_error(settings.build_database):
        connection = _open(settings.build_database, settings, "build", read_only=True)
    with connection:
        yield connection


@contextmanager
def open_finished_build(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the build to read tables and columns that every finished one of this version has.

    Raises:
        WarehouseError: nothing has been built yet; or the build was killed, or made by an earlier
            version, and lacks what is read.
        WarehouseBusyError: another process writes it.
    """
    with open_build(settings) as connection, lacking_is_our_error(settings.build_database):
        yield connection


@contextmanager
def lacking_is_our_error(build: object) -> Iterator[None]:
    """Say what to do when a query finds no such table or column in the build.

    Raises:
        WarehouseError: it found none.
    """
    try:
        yield
    except (duckdb.BinderException, duckdb.CatalogException) as error:
        raise WarehouseError(
            f"{build} lacks what is read from it: the last build did not get to its end, or an "
            "earlier version of Larder made it. `larder build` builds it whole. DuckDB says: "
            f"{str(error).splitlines()[0]}"
        ) from None


def require_build(settings: Settings) -> Path:
    """Return the file of the build, or say that there is none.

    Raises:
        WarehouseError: nothing has been built yet.
    """
    if not settings.build_database.is_file():
        raise WarehouseError(
            f"nothing has been built yet: {settings.build_database} is not there. "
            "`larder run` loads, builds and publishes."
        )
    return settings.build_database


@contextmanager
def open_published(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the published marts read-only; the connection stays on its generation, whole.

    Its catalog is `larder`, unqualified names are searched in `marts`, its time zone is UTC.

    Raises:
        WarehouseError: nothing is published yet, or the published file is not readable.
    """

    def opened(file: Path) -> duckdb.DuckDBPyConnection:
        try:
            return _open(file, settings, f"published-{file.parent.name}", read_only=True)
        except duckdb.IOException as error:
            raise WarehouseError(
                f"{file} cannot be opened: {error}. `larder rollback` goes back one generation."
            ) from None

    connection = _follow_published(settings, opened)
    with connection:
        connection.execute("set search_path = 'marts,main'")
        yield connection


Fill = Callable[[duckdb.DuckDBPyConnection], None]
"""What else a sandbox holds is made by this, before it is closed."""


@contextmanager
def open_sandbox(
    settings: Settings, fill: Fill | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the published marts for somebody else's SQL, which can only read them.

    With `fill` nothing need be published yet. It sees no file of the machine, no variable of this
    program, cannot load an extension and cannot lift any of it. It has a database instance of its
    own, so that the restrictions do not reach other connections of this process.

    Raises:
        WarehouseError: nothing is published yet, or the published file is not readable.
    """
    with open_memory(settings) as connection:
        if fill is None or settings.published_database.is_symlink():
            _follow_published(
                settings, lambda file: attach(connection, file, PUBLISHED_CATALOG, read_only=True)
            )
            catalog = PUBLISHED_CATALOG
            connection.execute(f"set search_path = '{catalog}.marts,{catalog}.main'")
        if fill is not None:
            fill(connection)
        lock(connection)
        yield connection


def lock(connection: duckdb.DuckDBPyConnection) -> None:
    """Let a connection see nothing but what it has, for good."""
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")


def _follow_published(settings: Settings, open_file: Callable[[Path], T]) -> T:
    """Open the published file; the newest one where it is withdrawn in that moment."""
    for _ in range(OPEN_ATTEMPTS - 1):
        file = resolve_published(settings)
        try:
            return open_file(file)
        except WarehouseError:
            if file.exists():
                raise
    return open_file(resolve_published(settings))


def resolve_published(settings: Settings) -> Path:
    """Follow the link to the published file, which is in the folder of its generation.

    Raises:
        WarehouseError: nothing is published yet, or the link points nowhere.
    """
    link = settings.published_database
    if not link.is_symlink() and not link.exists():
        raise WarehouseError(
            f"nothing is published yet: {link} is not there. `larder run` loads, builds and "
            "publishes."
        )
    try:
        return link.resolve(strict=True)
    except FileNotFoundError:
        raise WarehouseError(
            f"{link} points to a generation that is gone. `larder publish` makes a new one from "
            "the last build."
        ) from None


def attach(
    connection: duckdb.DuckDBPyConnection,
    file: Path,
    catalog: str,
    *,
    read_only: bool,
    storage_version: str | None = None,
) -> None:
    """Attach a database file under the name `catalog`.

    Raises:
        WarehouseBusyError: another process writes it (or, for writing, has it open).
        WarehouseError: the file cannot be opened.
    """
    options = ["read_only" if read_only else "read_write"]
    if storage_version is not None:
        options.append(f"storage_version '{storage_version}'")
    with _busy_is_our_error(file):
        try:
            connection.execute(
                f"attach {literal(str(file))} as {quoted(catalog)} ({', '.join(options)})"
            )
        except duckdb.IOException as error:
            if _is_busy(error):
                raise
            raise WarehouseError(f"{file} cannot be opened: {error}") from None


def quoted(name: str) -> str:
    """Return a name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text as a quoted SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def _open(
    database: Path | str, settings: Settings, label: str, *, read_only: bool = False
) -> duckdb.DuckDBPyConnection:
    # Set after connecting: DuckDB refuses a second connection of a process to the same file whose
    # configuration differs, and somebody's notebook may hold a plain one.
    connection = duckdb.connect(str(database), read_only=read_only)
    connection.execute("set TimeZone = 'UTC'")
    connection.execute(f"set memory_limit = {literal(settings.memory_limit)}")
    # `select * from name` must never find a Python variable
    connection.execute("set python_enable_replacements = false")
    # It makes DuckDB 2.0.0 compare wrongly after a left join; profiles.yml does the same.
    connection.execute("set disabled_optimizers = 'statistics_propagation'")
    # DuckDB would draw it into standard output, where a query's CSV goes
    connection.execute("set enable_progress_bar = false")
    spill = str(_spill_folder(settings, label))
    if connection.execute("select current_setting('temp_directory')").fetchall() != [(spill,)]:
        # refused once the instance has spilled, which it then does where it always did
        with suppress(duckdb.NotImplementedException):
            connection.execute(f"set temp_directory = {literal(spill)}")
    return connection


def _spill_folder(settings: Settings, label: str) -> Path:
    """Name a folder of this instance alone: two that share one would overwrite each other.

    DuckDB makes it when it spills and removes it when it closes; what a killed process of this
    machine left is removed here.
    """
    root, host = settings.home / ".spill", socket.gethostname()
    # An analyst may read a home folder that he cannot write: then nothing can spill.
    with suppress(OSError):
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in root.iterdir():
            owner, _, rest = folder.name.partition("~")
            pid = rest.partition("~")[0]
            if owner == host and pid.isdigit() and not is_alive(int(pid)):
                shutil.rmtree(folder, ignore_errors=True)
    return root / f"{host}~{os.getpid()}~{label}"


def is_alive(pid: int) -> bool:
    """Tell whether a process of this machine still runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def _busy_is_our_error(file: Path) -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        if not _is_busy(error):
            raise
        raise WarehouseBusyError(
            f"{file} is in use by another program ({_who(str(error))}). Wait until it has ended "
            "and run again; read the published marts in the meantime, they are never locked."
        ) from None


def _is_busy(error: duckdb.Error) -> bool:
    text = str(error)
    return any(
        mark in text
        for mark in (
            "Could not set lock on file",  # another process
            "Unique file handle conflict",  # this process, another instance
            "different configuration than existing connections",  # this process, same instance
        )
    )


def _who(text: str) -> str:
    _, found, rest = text.partition("Conflicting lock is held in ")
    return rest.partition(". See also")[0] if found else "a connection of this process"
