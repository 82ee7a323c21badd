"""SQLite files that several processes write at once."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

_RETRY_SECONDS = 0.01


def open_shared(path: Path, busy_seconds: float) -> sqlite3.Connection:
    """Open a file with a write-ahead log, and wait so long for those who write it.

    Statements are their own transactions. What was committed survives the kill of a process; a
    power failure may take the last of it.

    Raises:
        sqlite3.Error: the file cannot be opened, is none of SQLite, or somebody held it for longer.
    """
    connection = sqlite3.connect(
        path, timeout=busy_seconds, isolation_level=None, check_same_thread=False
    )
    try:
        _write_ahead(connection, time.monotonic() + busy_seconds)
        connection.execute("pragma synchronous = normal")
    except BaseException:
        connection.close()
        raise
    return connection


def _write_ahead(connection: sqlite3.Connection, until: float) -> None:
    # Of several who open a new file at once one alone may change it, and SQLite lets the others
    # fail instead of wait.
    while True:
        try:
            connection.execute("pragma journal_mode = wal")
            return
        except sqlite3.OperationalError as error:
            is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not is_busy or time.monotonic() > until:
                raise
            time.sleep(_RETRY_SECONDS)
