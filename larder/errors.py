"""The errors a user can cause; each message says what, where, why and what to do.

Whatever is not a `LarderError` is our own bug and keeps its traceback.
"""

from __future__ import annotations


class LarderError(Exception):
    """Report a condition that the user can mend; printed without a traceback."""

    exit_code = 1


class UsageError(LarderError):
    """A command was given something that it cannot work with."""

    exit_code = 2


class SettingsError(UsageError):
    """A setting is missing or cannot be used."""


class KeyMismatchError(LarderError):
    """The key file is missing, unreadable or not the one that the vault was made with."""


class LandingError(LarderError):
    """The landing zone as a whole cannot be read (a bad file in it is a dead letter instead)."""


class LandingUnavailableError(LandingError):
    """The landing zone cannot be reached or is overloaded; a later try may find it well again."""


class BusError(LarderError):
    """The event bus takes no message, or its outbox cannot be used; what waits stays."""


class WarehouseBusyError(LarderError):
    """Another run holds the lock."""


class WarehouseError(LarderError):
    """The warehouse does not hold what was asked of it."""


class BuildError(LarderError):
    """dbt reported a failed model or test."""


class AuditError(LarderError):
    """A batch was kept out of the build by its audit."""


class DeployError(LarderError):
    """The set-up of Snowflake could not be applied, or personal data would not be masked."""


class BackupError(LarderError):
    """A backup or a restore could not be done."""


class BackupBusyError(BackupError):
    """Another program is using the backup."""


class BackupPasswordError(BackupError):
    """The password does not open the backup."""


class BackupDamagedError(BackupError):
    """A file of the backup is not what was written."""


class BackupIncompleteError(BackupError):
    """A file of the backup is gone."""
