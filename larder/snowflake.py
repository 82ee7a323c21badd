"""The one place that opens a connection to Snowflake, with a key pair and nothing else."""

from __future__ import annotations

from typing import Any

import snowflake.connector
from snowflake.connector.errors import Error

from larder.errors import SettingsError, WarehouseError
from larder.settings import Settings


class SnowflakeConnection:
    """Run one statement after another in one session."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __enter__(self) -> SnowflakeConnection:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows.

        Raises:
            snowflake.connector.errors.Error: Snowflake refused it.
        """
        with self._connection.cursor() as cursor:
            return list(cursor.execute(sql).fetchall())


def connect(settings: Settings, role: str | None = None) -> SnowflakeConnection:
    """Open a session as the user of the settings, in `role` or else in that of the settings.

    Raises:
        SettingsError: account, user or private key is not set.
        WarehouseError: Snowflake cannot be reached or refuses the key.
    """
    needed = {
        "LARDER_SNOWFLAKE_ACCOUNT": settings.snowflake_account,
        "LARDER_SNOWFLAKE_USER": settings.snowflake_user,
        "LARDER_SNOWFLAKE_PRIVATE_KEY_PATH": settings.snowflake_private_key_path,
    }
    if missing := [name for name, value in needed.items() if value is None]:
        raise SettingsError(
            f"{', '.join(missing)} must be set to reach Snowflake. deploy/README.md says how."
        )
    where = {"host": settings.snowflake_host, "role": role or settings.snowflake_role}
    try:
        connection = snowflake.connector.connect(
            account=settings.snowflake_account,
            user=settings.snowflake_user,
            authenticator="SNOWFLAKE_JWT",
            private_key_file=str(settings.snowflake_private_key_path),
            port=settings.snowflake_port,
            protocol=settings.snowflake_protocol,
            session_parameters={"QUERY_TAG": '{"app": "larder"}'},
            **{name: value for name, value in where.items() if value},
        )
    except (Error, OSError, ValueError, TypeError) as error:
        raise WarehouseError(
            f"Snowflake account {settings.snowflake_account} cannot be opened as "
            f"{settings.snowflake_user}: {' '.join(str(error).split())}. Check the account, the "
            "user and that its public key is the one of LARDER_SNOWFLAKE_PRIVATE_KEY_PATH."
        ) from error
    return SnowflakeConnection(connection)
