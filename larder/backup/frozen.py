"""A home folder held still for a moment: what a backup takes, as it was at one instant.

Segments, landing files, verdicts and generations are never written in place, so a second name (a
hard link) of each is a copy that takes no time and no space. The vault is copied by SQLite itself,
after the segments: whatever token a segment holds, the copy of the vault knows.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from larder.errors import LandingError, SettingsError
from larder.keys import fingerprint, read_key
from larder.serving.publish import published_generation
from larder.settings import Settings
from larder.warehouse import attach, literal, open_memory, open_published, quoted
from loaders.bus.outbox import open_outbox, outbox_file
from loaders.landing import find_files
from loaders.vault import Tombstone, open_vault

ROOT = "larder-home"
MANIFEST = "backup.json"
INSIDE = "inside"
MEMORY = "memory"
VERSION = 1
# Locks, caches and files in the making are of this machine.
_LEFT_OUT = {"_aside", "_locks", "_ledger.json", "audit.lock", ".lock"}


@dataclass(frozen=True)
class Manifest:
    """Say what a backup holds; instants in ISO 8601, UTC.

    `landing` is `inside`, the folder that the landing zone is in, or null where it is in a bucket
    or nowhere. `files` and `size_bytes` are those of the home, without a landing zone outside.
    """

    made_at: str
    as_of: str | None
    fingerprint: str
    erasures: str
    generation: str | None
    landing: str | None
    files: int
    size_bytes: int
    version: int = VERSION

    def tags(self) -> list[str]:
        """Return what the snapshot is found by."""
        as_of = f"as-of={self.as_of}" if self.as_of else "as-of=unknown"
        return [as_of, f"key={self.fingerprint}", f"erasures={self.erasures}"]


@dataclass(frozen=True)
class Frozen:
    """Hold the folder with what was held still, and a landing zone that lies elsewhere."""

    folder: Path
    manifest: Manifest
    tombstones: frozenset[Tombstone]
    landing: Path | None


def frozen_folder(settings: Settings) -> Path:
    """Return where a home is held still; whoever has the lock of backups may remove it."""
    return settings.home / ".backup"


@contextmanager
def frozen(settings: Settings, now: datetime) -> Iterator[Frozen]:
    """Hold the home still; what this gives stays, while the home goes on.

    The caller holds the lock of backups for all of it, and the run lock until this has begun.

    Raises:
        SettingsError: a secret lies where it would be backed up beside what it protects.
        KeyMismatchError: the vault cannot be used.
        WarehouseBusyError: another program writes the build.
    """
    _require_secrets_elsewhere(settings)
    folder = frozen_folder(settings)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield _freeze(settings, folder, now)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _freeze(settings: Settings, folder: Path, now: datetime) -> Frozen:
    root = folder / ROOT
    folder.mkdir(mode=0o700)
    root.mkdir()
    shutil.copymode(settings.home, root)
    _take_tree(settings.raw_folder, root / "raw")
    landing = _take_landing(settings, root / "landing")
    for source in (settings.truth_folder, settings.generations_folder):
        _take_tree(source, root / source.name)
    # pages are written in place, and few
    _take_tree(settings.audit_folder, root / "audit", is_copied=True)
    _remember(settings, root / MEMORY)
    with suppress(FileNotFoundError):
        shutil.copy2(settings.home / "published.json", root)
    _take_outbox(settings, root / "bus")
    with open_vault(settings) as vault:
        (root / "vault").mkdir(mode=0o700)
        vault.copy_to(root / "vault" / "vault.sqlite")
        tombstones, erasures = frozenset(vault.tombstones()), vault.erasures()
    files = [file for file in root.rglob("*") if file.is_file()]
    manifest = Manifest(
        made_at=now.isoformat(),
        as_of=_as_of(settings),
        fingerprint=fingerprint(read_key(settings.key_file)),
        erasures=erasures,
        generation=published_generation(settings),
        landing=str(landing) if landing else INSIDE if (root / "landing").is_dir() else None,
        files=len(files),
        size_bytes=sum(file.stat().st_size for file in files),
    )
    (root / MANIFEST).write_text(json.dumps(asdict(manifest), indent=1), encoding="utf-8")
    return Frozen(folder, manifest, tombstones, landing)


def _require_secrets_elsewhere(settings: Settings) -> None:
    parts = [
        settings.raw_folder,
        settings.truth_folder,
        settings.vault_folder,
        settings.audit_folder,
        settings.generations_folder,
    ]
    with suppress(LandingError):
        parts.append(settings.landing_folder)
    for name, secret in (
        ("LARDER_KEY_FILE", settings.key_file),
        ("LARDER_BACKUP_PASSWORD_FILE", settings.backup_password_file),
    ):
        if any(secret.resolve().is_relative_to(part.resolve()) for part in parts):
            raise SettingsError(
                f"{name}: {secret} lies where it would be backed up beside what it protects. Move "
                "it out of LARDER_HOME and the landing zone."
            )


def _take_landing(settings: Settings, target: Path) -> Path | None:
    """Take the landing zone; return its folder where restic has to read it in its own place."""
    try:
        landing = settings.landing_folder
    except LandingError:
        return None  # in a bucket, which keeps its own versions
    if not landing.is_dir():
        return None
    target.mkdir(mode=landing.stat().st_mode & 0o777)
    found = [file.path for file in find_files(landing)]
    found += [path for path in landing.glob("_*.json") if path.is_file()]
    for path in found:
        copy = target / path.relative_to(landing)
        copy.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path.resolve(), copy)
        except FileNotFoundError:
            continue  # taken away meanwhile
        except OSError:  # on another disk, or somebody else's
            shutil.rmtree(target)
            return landing
    return None


def _take_tree(source: Path, target: Path, *, is_copied: bool = False) -> None:
    if not source.is_dir():
        return
    target.mkdir(mode=source.stat().st_mode & 0o777)
    for entry in os.scandir(source):
        if entry.name in _LEFT_OUT or entry.name.endswith((".partial", ".removed", ".tmp")):
            continue
        path, copy = Path(entry.path), target / entry.name
        if entry.is_dir(follow_symlinks=False):
            _take_tree(path, copy, is_copied=is_copied)
            continue
        with suppress(FileNotFoundError):
            try:
                if is_copied:
                    shutil.copy2(path, copy)
                else:
                    os.link(path, copy)
            except FileNotFoundError:
                raise
            except OSError:  # a disk without hard links
                shutil.copy2(path, copy)


def _take_outbox(settings: Settings, target: Path) -> None:
    """Copy what waits for the event bus, after the segments: it knows of each that it was read.

    So after a restore what had been sent before the backup is not sent again; what waited then is,
    also if it has been sent since.
    """
    if outbox_file(settings).exists():
        target.mkdir(mode=0o700)
        with open_outbox(settings) as outbox:
            outbox.copy_to(target / outbox_file(settings).name)


def _remember(settings: Settings, folder: Path) -> None:
    """Keep what no rebuild brings back: which reference values were in force when.

    Scores, which are kept for ever as well, are in the generations.
    """
    if not settings.build_database.is_file():
        return
    folder.mkdir()
    with open_memory(settings) as connection:
        attach(connection, settings.build_database, "build", read_only=True)
        tables = connection.execute(
            "select table_name from duckdb_tables() "
            "where database_name = 'build' and schema_name = 'snapshots'"
        ).fetchall()
        for (table,) in tables:
            file = literal(str(folder / f"{table}.parquet"))
            connection.execute(f"copy build.snapshots.{quoted(table)} to {file} (format parquet)")


def _as_of(settings: Settings) -> str | None:
    """Return the moment that counted as now in what is published."""
    if settings.as_of is not None:
        return settings.as_of.isoformat()
    if published_generation(settings) is None:
        return None
    with open_published(settings) as connection:
        try:
            rows = connection.execute("select max(as_of_date) from ml_waste_probabilities")
            newest = rows.fetchall()[0][0]
        except duckdb.Error:  # nothing is scored yet
            return None
    return newest.isoformat() if newest else None
