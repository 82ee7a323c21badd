"""The one place that opens Snowflake: by key pair, as one of Larder's roles."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from larder.errors import SettingsError, WarehouseError
from larder.settings import Settings

if TYPE_CHECKING:
    from snowflake.connector import SnowflakeConnection

RAW, ANALYTICS, PUBLISHED = "larder_raw", "larder_analytics", "larder"
LANDING = f"{RAW}.landing"

Role = Literal["loader", "transformer", "reader"]
WAREHOUSES: dict[Role, str] = {
    "loader": "larder_loading",
    "transformer": "larder_transforming",
    "reader": "larder_reading",
}
DATABASES: dict[Role, str] = {"loader": RAW, "transformer": ANALYTICS, "reader": PUBLISHED}
# Seconds until a network that does not answer is given up.
LOGIN_SECONDS, NETWORK_SECONDS = 60, 300

# A table or schema is missing, or hidden from the role: Snowflake does not tell which.
NOT_THERE = (2003, 2043)

# What Snowflake says, by its number, in terms of what the user can mend.
REMEDIES: dict[int, str] = {
    250001: "LARDER_SNOWFLAKE_ACCOUNT (or _HOST) names no account that answers: correct it, or "
    "look at the network",
    251001: "LARDER_SNOWFLAKE_ACCOUNT is missing",
    390100: "LARDER_SNOWFLAKE_USER is unknown to the account, or has another key",
    390144: "LARDER_SNOWFLAKE_PRIVATE_KEY_PATH is not the key of the user (it may have been "
    "rotated): set its public half with `alter user … set rsa_public_key`",
    390114: "the login has expired: run again",
    390189: "the role is not granted to LARDER_SNOWFLAKE_USER: `larder deploy` grants it",
    390201: "the role or warehouse is not there, or not granted: run `larder deploy`",
    606: "the warehouse is not there, or the role may not use it: run `larder deploy`",
    90073: "the warehouse is suspended, because its resource monitor has no credits left: raise "
    "the quota of larder_credits, or wait for the next month",
    3001: "the role lacks a right: run `larder deploy`, which grants what it needs",
    2003: "it is not there, or the role may not see it: run `larder deploy`",
    2043: "it is not there, or the role may not see it: run `larder deploy`",
    250003: "the network was lost: nothing is half done, run again",
    250005: "the network was lost: nothing is half done, run again",
    253003: "the file could not be sent: nothing is half done, run again",
}


@contextmanager
def open_snowflake(settings: Settings, role: Role) -> Iterator[SnowflakeConnection]:
    """Connect as one of Larder's roles; the session's time zone is UTC.

    An error of Snowflake's that leaves the block becomes one of ours.

    Raises:
        SettingsError: a setting is missing, or the private key cannot be read.
        WarehouseError: Snowflake refuses, or cannot be reached; names the setting and the remedy.
    """
    import snowflake.connector
    from snowflake.connector.errors import Error

    try:
        with snowflake.connector.connect(
            **_credentials(settings),
            role=f"larder_{role}",
            warehouse=WAREHOUSES[role],
            database=DATABASES[role],
            application="larder",
            login_timeout=LOGIN_SECONDS,
            network_timeout=NETWORK_SECONDS,
            session_parameters={"TIMEZONE": "UTC", "QUERY_TAG": f"larder {role}"},
        ) as connection:
            yield connection
    except Error as error:
        raise WarehouseError(explain(error)) from None


def fetch(connection: SnowflakeConnection, sql: str, *values: object) -> list[tuple[Any, ...]]:
    """Run a statement with values for its `%s` and return its rows."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values or None)
        return [tuple(row) for row in cursor.fetchall()]


def count(settings: Settings, role: Role, query: str) -> int:
    """Ask for one number; nought where what is asked is not there yet."""
    from snowflake.connector.errors import ProgrammingError

    with open_snowflake(settings, role) as connection:
        try:
            return int(fetch(connection, query)[0][0])
        except ProgrammingError as error:
            if error.errno in NOT_THERE:
                return 0
            raise


class TranslatedConnection:
    """Run SQL as DuckDB speaks it on Snowflake; answers as DuckDB's own connection does."""

    def __init__(self, connection: SnowflakeConnection) -> None:
        self._cursor = connection.cursor()

    @property
    def description(self) -> list[tuple[str, ...]]:
        """The columns of the last result: name first, in lower case."""
        return [(column.name.lower(),) for column in self._cursor.description or []]

    def execute(self, sql: str, values: Mapping[str, object] | None = None) -> TranslatedConnection:
        """Run one statement; `values` are plain ones of its `$name`."""
        import sqlglot

        for name, value in (values or {}).items():
            sql = re.sub(rf"\${name}\b", repr(value), sql)
        self._cursor.execute(sqlglot.transpile(sql, read="duckdb", write="snowflake")[0])
        return self

    def fetchall(self) -> list[Any]:
        """Return all rows of the last result."""
        return [tuple(row) for row in self._cursor.fetchall()]

    def fetchmany(self, size: int) -> list[Any]:
        """Return the next rows of the last result."""
        return [tuple(row) for row in self._cursor.fetchmany(size)]


def explain(error: Exception) -> str:
    """Say what Snowflake refused, and what to do."""
    number = getattr(error, "errno", None) or 0
    said = " ".join(str(getattr(error, "raw_msg", None) or error).split())
    remedy = REMEDIES.get(number, "correct what it names and run again; what was finished stays")
    return f"Snowflake refused ({number}): {said}. To mend it: {remedy}."


def environment(settings: Settings) -> dict[str, str]:
    """Return the variables that dbt's profile reads."""
    names = ("account", "user", "private_key_path", "host", "port", "protocol")
    values = {name: getattr(settings, f"snowflake_{name}") for name in names}
    return {
        f"LARDER_SNOWFLAKE_{name.upper()}": str(value)
        for name, value in values.items()
        if value is not None
    }


def _credentials(settings: Settings) -> dict[str, Any]:
    needed = {
        "account": settings.snowflake_account,
        "user": settings.snowflake_user,
        "private_key_file": settings.snowflake_private_key_path,
    }
    names = {"private_key_file": "private_key_path"}
    missing = [
        f"LARDER_SNOWFLAKE_{names.get(name, name).upper()}"
        for name, value in needed.items()
        if value is None
    ]
    if missing:
        raise SettingsError(
            f"LARDER_TARGET is prod, but {', '.join(missing)} is not set. Set it, or unset "
            "LARDER_TARGET to work on DuckDB."
        )
    key = settings.snowflake_private_key_path
    if key is None or not key.is_file():
        raise SettingsError(
            f"LARDER_SNOWFLAKE_PRIVATE_KEY_PATH: {key} is not a file. Name the private key of "
            "LARDER_SNOWFLAKE_USER."
        )
    credentials: dict[str, Any] = {
        **needed,
        "private_key_file": str(key),
        "authenticator": "SNOWFLAKE_JWT",
        "protocol": settings.snowflake_protocol,
        "port": settings.snowflake_port,
    }
    if settings.snowflake_host:
        credentials["host"] = settings.snowflake_host
    return credentials
