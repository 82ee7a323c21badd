"""The one place that opens Snowflake: by key pair, as one of Larder's roles."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from larder.errors import SettingsError, WarehouseError
from larder.settings import Settings

if TYPE_CHECKING:
    from snowflake.connector import SnowflakeConnection

RAW, VAULT, ANALYTICS, PUBLISHED = "larder_raw", "larder_vault", "larder_analytics", "larder"
LANDING = f"{RAW}.landing"
PEOPLE = f"{VAULT}.people"

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
    290403: "LARDER_SNOWFLAKE_ACCOUNT (or _HOST) names no account that answers: correct it",
    290404: "LARDER_SNOWFLAKE_ACCOUNT (or _HOST) names no account that answers: correct it",
}
# From here on the connector numbers what it did not get through to the server, or back.
LOST_FROM = 250003
LOST = "the network was lost, or Snowflake is down: nothing is half done, run again"
# How a number stands in what dbt passes on, and what it passes on where there is none.
NUMBERED = re.compile(r"(?:^|\s)(\d{6})(?: \(\w{5}\)|: \d{6})?: ")
BROKEN_OFF = re.compile(r"Connection (?:broken|aborted)|Max retries exceeded|Read timed out")


@contextmanager
def open_snowflake(settings: Settings, role: Role) -> Iterator[SnowflakeConnection]:
    """Connect as one of Larder's roles; the session's time zone is UTC.

    Raises:
        SettingsError: a setting is missing, or the private key cannot be read.
        WarehouseError: Snowflake refuses, or cannot be reached; names the setting and the remedy.
    """
    with _open(
        settings,
        role=f"larder_{role}",
        warehouse=WAREHOUSES[role],
        database=DATABASES[role],
    ) as connection:
        yield connection


class Account:
    """Run statements on the whole account."""

    def __init__(self, connection: SnowflakeConnection) -> None:
        self._connection = connection

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows."""
        return fetch(self._connection, sql)


@contextmanager
def open_account(settings: Settings) -> Iterator[Account]:
    """Connect as who sets the account up, before any role or warehouse of Larder's is there.

    Raises:
        as `open_snowflake`.
    """
    with _open(settings, role="accountadmin") as connection:
        yield Account(connection)


@contextmanager
def _open(settings: Settings, **where: str) -> Iterator[SnowflakeConnection]:
    """Open a session; an error of Snowflake's that leaves the block becomes one of ours."""
    import snowflake.connector
    from snowflake.connector.errors import Error
    from snowflake.connector.vendored.requests.exceptions import RequestException

    # what it logs is in the error, too, which is ours to print
    logging.getLogger("snowflake.connector").setLevel(logging.CRITICAL)
    try:
        with snowflake.connector.connect(
            **_credentials(settings),
            **where,
            application="larder",
            # else a number with decimals would reach Arrow as a floating one, and lose some
            arrow_number_to_decimal=True,
            # it would ask for the metadata of every cloud, in vain wherever there is none
            platform_detection_timeout_seconds=0.0,
            login_timeout=LOGIN_SECONDS,
            network_timeout=NETWORK_SECONDS,
            session_parameters={"TIMEZONE": "UTC", "QUERY_TAG": '{"app": "larder"}'},
        ) as connection:
            yield connection
    except Error as error:
        raise WarehouseError(explain(error)) from None
    except RequestException as error:  # an answer that breaks off is none of its own errors
        raise WarehouseError(f"Snowflake did not answer ({error}). To mend it: {LOST}.") from None


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


def explain(error: Exception) -> str:
    """Say what Snowflake refused, and what to do."""
    number = getattr(error, "errno", None) or 0
    said = " ".join(str(getattr(error, "raw_msg", None) or error).split())
    unknown = "correct what it names and run again; what was finished stays"
    return f"Snowflake refused ({number}): {said}. To mend it: {_remedy(number) or unknown}."


def find_remedies(said: str) -> list[str]:
    """Return what mends that which another program has passed on of Snowflake, each once."""
    found = [_remedy(int(number)) for number in NUMBERED.findall(said)]
    if BROKEN_OFF.search(said):
        found.append(LOST)
    return list(dict.fromkeys(one for one in found if one))


def _remedy(number: int) -> str | None:
    is_lost = LOST_FROM <= number < 390000 or number >= 400000
    return REMEDIES.get(number, LOST if is_lost else None)


def environment(settings: Settings) -> dict[str, str]:
    """Return the variables that dbt's profile reads."""
    names = ("account", "user", "private_key_path", "host", "port", "protocol")
    values = {name: getattr(settings, f"snowflake_{name}") for name in names}
    if settings.snowflake_private_key_passphrase:
        secret = settings.snowflake_private_key_passphrase.get_secret_value()
        values["private_key_passphrase"] = secret
    return {
        f"LARDER_SNOWFLAKE_{name.upper()}": str(value)
        for name, value in values.items()
        if value is not None
    }


def require_settings(settings: Settings) -> None:
    """Check that it is set whom to log in as, and where.

    Raises:
        SettingsError: a setting is missing; names it.
    """
    missing = [
        f"LARDER_SNOWFLAKE_{name.upper()}"
        for name in ("account", "user", "private_key_path")
        if getattr(settings, f"snowflake_{name}") is None
    ]
    if missing:
        raise SettingsError(
            f"LARDER_TARGET is prod, but {', '.join(missing)} is not set. Set it, or unset "
            "LARDER_TARGET to work on DuckDB."
        )


def _credentials(settings: Settings) -> dict[str, Any]:
    require_settings(settings)
    credentials: dict[str, Any] = {
        "account": settings.snowflake_account,
        "user": settings.snowflake_user,
        "private_key": _private_key(settings),
        "authenticator": "SNOWFLAKE_JWT",
        "protocol": settings.snowflake_protocol,
        "port": settings.snowflake_port,
    }
    if settings.snowflake_host:
        credentials["host"] = settings.snowflake_host
    return credentials


def _private_key(settings: Settings) -> Any:
    """Read the private key."""
    path, passphrase = (
        settings.snowflake_private_key_path,
        settings.snowflake_private_key_passphrase,
    )
    assert path is not None
    try:
        return _checked_key(
            path.read_bytes(), passphrase.get_secret_value().encode() if passphrase else None
        )
    except (OSError, ValueError, TypeError):
        raise SettingsError(
            f"LARDER_SNOWFLAKE_PRIVATE_KEY_PATH: {path} cannot be read as a private key. Name the "
            "PEM file of LARDER_SNOWFLAKE_USER; if it is encrypted, set "
            "LARDER_SNOWFLAKE_PRIVATE_KEY_PASSPHRASE."
        ) from None


@lru_cache(maxsize=2)
def _checked_key(content: bytes, passphrase: bytes | None) -> Any:
    """Return the key in a PEM file; that it is none of a forger's is checked once, for .1 s."""
    from cryptography.hazmat.primitives import serialization

    return serialization.load_pem_private_key(content, passphrase)
