"""Homes with a backup, what is in them, and what may happen to them."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
from landing_zone import Home

from larder.backup.restic import Restic
from larder.backup.taking import HOME, REGISTER
from larder.serving.publish import published_generation
from larder.settings import Settings


@dataclass
class Backed:
    """A home that is backed up, and the token of the person in it."""

    home: Home
    token: str

    @property
    def settings(self) -> Settings:
        settings: Settings = self.home.settings
        return settings

    @property
    def place(self) -> Path:
        assert self.settings.backup
        return Path(self.settings.backup)

    def elsewhere(self, **changes: Any) -> Settings:
        """Return the settings of an empty machine that knows key, password and place."""
        empty = self.settings.home.with_name("empty")
        made: Settings = self.settings.model_copy(update={"home": empty, **changes})
        return made

    def copy(self, folder: Path) -> Backed:
        """Copy home, secrets and backup, to be changed."""
        shutil.copytree(self.settings.home.parent, folder, symlinks=True)
        return Backed(Home(settings_in(folder)), self.token)


def settings_in(folder: Path) -> Settings:
    return Settings(
        home=folder / "home",
        key_file=folder / "key",
        backup=str(folder / "place"),
        backup_password_file=folder / "password",
        lock_wait_seconds=30.0,
        memory_limit="1GB",
    )


def files_in(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return content and time of change of what counts below a folder."""
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.relative_to(folder).parts[0].startswith(("_", ".lock"))
    }


def vault_rows(settings: Settings) -> list[tuple[Any, ...]]:
    with sqlite3.connect(settings.vault_folder / "vault.sqlite") as connection:
        return [
            row
            for table in ("vault", "tokens", "tombstones")
            for row in sorted(connection.execute(f"select * from {table}"))
        ]


def published_rows(settings: Settings) -> dict[str, list[Any]]:
    with duckdb.connect(str(settings.published_database), read_only=True) as connection:
        tables = connection.execute("select table_name from duckdb_tables() order by 1").fetchall()
        connection.execute("set search_path = 'marts,main'")
        return {
            name: connection.execute(f"from {name} order by all").fetchall() for (name,) in tables
        }


def require_equal(restored: Settings, settings: Settings) -> None:
    assert files_in(restored.raw_folder) == files_in(settings.raw_folder)
    assert files_in(restored.landing_folder) == files_in(settings.landing_folder)
    assert files_in(restored.generations_folder) == files_in(settings.generations_folder)
    assert files_in(restored.truth_folder) == files_in(settings.truth_folder)
    assert vault_rows(restored) == vault_rows(settings)
    assert published_generation(restored) == published_generation(settings)
    assert published_rows(restored) == published_rows(settings)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)


def part(backed: Backed, kind: str) -> Path:
    """Return a file of the backup: the largest pack, or what the name says."""
    if kind == "config":
        return backed.place / "config"
    if kind in (HOME, REGISTER):
        (found,) = [one for one in Restic(backed.settings).snapshots() if kind in one.tags][-1:]
        return backed.place / "snapshots" / found.id
    files = [path for path in (backed.place / kind).rglob("*") if path.is_file()]
    return max(files, key=lambda path: path.stat().st_size)


def wrong_password(backed: Backed) -> None:
    backed.settings.backup_password_file.write_text("0" * 64)
