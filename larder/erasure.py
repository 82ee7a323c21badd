"""Erase a person from everything there is: home, landing zone, lake, Snowflake and backup."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path

from larder.backup.frozen import frozen_folder
from larder.backup.taking import Backup, back_up, backup_lock, has_backup
from larder.errors import BackupError
from larder.serving.lake import fetched_files, rewrite_without
from larder.settings import Settings
from loaders.collector.lander import empty_spool
from loaders.entities import Domain
from loaders.erasing import Erasure, erase
from loaders.erasing.account import AccountTables
from loaders.erasing.elsewhere import Elsewhere
from loaders.erasing.person import Person
from loaders.upload import exchange_tokens


class LakeCopies:
    """The generations that stand in the lake."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def find_keys(self, _person: Person) -> list[str]:
        """Return none: what was published was built here."""
        return []

    def erase(self, person: Person, report: Erasure) -> None:
        """Take the person out of the lake."""
        report.copies += rewrite_without(self._settings, person.marks)

    def copies(self, _texts: Sequence[str]) -> AbstractContextManager[Iterator[tuple[str, Path]]]:
        """Give every file of the lake to be searched."""
        return fetched_files(self._settings)

    def forget(self, _texts: Sequence[str], _report: Erasure) -> None:
        """Do nothing: the lake has no vault."""


def erase_everywhere(
    settings: Settings, person_id: str, now: Callable[[], datetime], domain: Domain = "commerce"
) -> Erasure:
    """Erase a person of a domain from everything but the backup, and prove it by searching.

    Raises:
        LarderError: as `loaders.erasing.erase`; run again, it goes on from there.
    """
    with backup_lock(settings, "larder erase"):
        # what a killed backup was taking
        shutil.rmtree(frozen_folder(settings), ignore_errors=True)
        empty_spool(settings)  # what a collector has taken is searched where it lands
        elsewhere: list[Elsewhere] = [LakeCopies(settings)] if settings.lake else []
        if settings.target == "prod":
            exchange_tokens(settings, now)  # whom only another home has met is erased, too
            elsewhere.append(AccountTables(settings, now))
        return erase(settings, person_id, now, elsewhere, domain)


def withdraw_from_backup(settings: Settings, now: Callable[[], datetime]) -> Backup | None:
    """Let the backup hold the home as it is after an erasure, and nothing from before it.

    Null where the home has never been backed up.

    Raises:
        BackupError: the backup could not be reached; it still holds the person, and the next
            `larder backup` does the same.
    """
    if settings.backup is None:
        return None
    try:
        return back_up(settings, now) if has_backup(settings) else None
    except BackupError as error:
        raise BackupError(
            f"{error} Until a `larder backup` succeeds, the backup still holds who was erased; a "
            "restore from it would not know of it."
        ) from error
