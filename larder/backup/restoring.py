"""Restore a home from its backup, without the people who have been erased since.

Everything is made ready beside the home and takes its name in one rename: whatever is killed, there
is a whole home or none.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from larder.backup.frozen import INSIDE, MANIFEST, MEMORY, ROOT, VERSION, Manifest
from larder.backup.restic import Snapshot
from larder.backup.taking import HOME, Register, read_register, require_backup
from larder.errors import BackupError, BackupIncompleteError, KeyMismatchError, LandingError
from larder.keys import fingerprint, read_key
from larder.lock import hold
from larder.serving.publish import FILE_NAME, generation_file, list_generations
from larder.settings import Settings
from larder.warehouse import attach, literal, open_memory, quoted
from loaders.erasing import Erasure, erase_buried
from loaders.vault import open_vault


@dataclass(frozen=True)
class Restored:
    """Say what was restored; `erasure` what was taken out of it again, null where nothing was."""

    snapshot: str
    made_at: datetime
    files: int
    size_bytes: int
    generation: str | None
    erasure: Erasure | None
    warnings: tuple[str, ...]


def restore(
    settings: Settings, now: Callable[[], datetime], snapshot: str | None = None
) -> Restored:
    """Restore the newest snapshot, or the one of that id, as `LARDER_HOME`, which must be empty.

    Raises:
        BackupError: the home holds something, or there is no such backup.
        BackupPasswordError, BackupDamagedError, BackupIncompleteError: the password is not the
            backup's; a file of it is not what was written; a file of it is gone.
        KeyMismatchError: the key file is missing or another one than the backup was made with.
    """
    home = settings.home
    _require_empty(settings)
    restic = require_backup(settings)
    home.parent.mkdir(parents=True, exist_ok=True)
    lock = home.with_name(f".{home.name}.lock")
    with hold(lock, "larder restore", settings.lock_wait_seconds):
        there = restic.snapshots()
        register = read_register(restic, there)
        there = [one for one in there if HOME in one.tags]
        chosen, warnings = _choose(restic.place, there, register, snapshot)
        _require_key(settings, chosen)
        aside = home.with_name(f".{home.name}.restoring")
        shutil.rmtree(aside, ignore_errors=True)
        try:
            aside.mkdir(mode=0o700)
            restic.restore(chosen.id, aside)
            manifest = _require_whole(aside / ROOT)
            ready = _arrange(settings, aside, manifest)
            erasure = _erase_again(ready, register, now)
            _remember(ready, aside / ROOT / MEMORY)
            _tidy(ready)
            _take_names(settings, ready)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    lock.unlink(missing_ok=True)  # from now on the home itself keeps others out
    return Restored(
        snapshot=chosen.name,
        made_at=chosen.made_at,
        files=manifest.files,
        size_bytes=manifest.size_bytes,
        generation=manifest.generation,
        erasure=erasure,
        warnings=tuple(warnings),
    )


def _require_empty(settings: Settings) -> None:
    folders = {"LARDER_HOME": settings.home}
    landing = _landing(settings)
    if not landing.is_relative_to(settings.home):
        folders["LARDER_LANDING"] = landing
    for name, folder in folders.items():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise BackupError(
                f"{name}: {folder} holds something, and a restore never mixes with what is there. "
                "Let it name an empty folder, or move what is there away."
            )
        if os.path.ismount(folder):
            raise BackupError(
                f"{name}: {folder} is a disk's mount point, which nothing can be renamed to. Let "
                "it name a folder below it."
            )


def _landing(settings: Settings) -> Path:
    """Return where restored landing files belong, also where new ones arrive in a bucket."""
    try:
        return settings.landing_folder
    except LandingError:
        return settings.home / "landing"


def _choose(
    place: str, there: list[Snapshot], register: Register | None, wanted: str | None
) -> tuple[Snapshot, list[str]]:
    listing = ", ".join(f"{one.name} of {one.made_at:%Y-%m-%d %H:%M}" for one in there) or "none"
    missing = sorted(set(register.snapshots if register else ()) - {one.id for one in there})
    said = None
    if missing:
        said = f"{len(missing)} snapshots are gone, such as {missing[0][:8]}"
    elif register is None and there:
        said = "the register is gone, which knows who was erased since the snapshots were made"
    if wanted is not None:
        chosen = [one for one in there if one.id.startswith(wanted)]
        if len(chosen) == 1:
            return chosen[0], [f"A part of the backup is missing: {said}."] if said else []
        if any(one.startswith(wanted) for one in missing):
            raise BackupIncompleteError(
                f"A part of the backup at {place} is missing: snapshot {wanted} is gone. "
                f"There are: {listing}."
            )
        raise BackupError(
            f"There is no snapshot {wanted} in the backup at {place}. There are: {listing}."
        )
    if said:
        raise BackupIncompleteError(
            f"A part of the backup at {place} is missing: {said}. Bring it back from a copy "
            f"of that place, or say with --snapshot what to restore all the same: {listing}."
        )
    if not there:
        raise BackupError(f"The backup at {place} holds no snapshot yet.")
    return there[-1], []


def _require_key(settings: Settings, snapshot: Snapshot) -> None:
    held, needed = fingerprint(read_key(settings.key_file)), snapshot.tag("key")
    if held != needed:
        raise KeyMismatchError(
            f"The backup was made with key {needed}, the key file {settings.key_file} holds "
            f"{held}. Point LARDER_KEY_FILE at the right key; nothing was restored."
        )


def _require_whole(root: Path) -> Manifest:
    """Compare what restic has restored with what was held still."""
    content = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
    if content["version"] != VERSION:
        raise BackupError(
            "The backup was made by another version of Larder, which has to restore it."
        )
    manifest = Manifest(**content)
    files = [file for file in root.rglob("*") if file.is_file() and file.name != MANIFEST]
    found = len(files), sum(file.stat().st_size for file in files)
    if found != (manifest.files, manifest.size_bytes):
        raise BackupIncompleteError(
            f"A part of the backup is missing: {found[0]} files of {found[1]} bytes were restored "
            f"instead of {manifest.files} of {manifest.size_bytes}. Restore another snapshot with "
            "--snapshot."
        )
    return manifest


def _arrange(settings: Settings, aside: Path, manifest: Manifest) -> Settings:
    """Put the parts where they belong, all of it aside; return the settings of that home."""
    home = aside / ROOT
    (home / MANIFEST).unlink()
    if manifest.landing not in (None, INSIDE):
        (aside / str(manifest.landing).lstrip("/")).rename(home / "landing")
    (home / "landing").mkdir(exist_ok=True)
    if manifest.generation is not None:
        link = home / settings.published_database.name
        link.symlink_to(Path("generations") / manifest.generation / FILE_NAME)
    return settings.model_copy(update={"home": home, "landing": None})


def _erase_again(
    ready: Settings, register: Register | None, now: Callable[[], datetime]
) -> Erasure | None:
    """Remove whoever was erased after the snapshot was made.

    Raises:
        BackupError: something of them is still found.
    """
    with open_vault(ready) as vault:
        tombstones = register.tombstones if register else frozenset()
        if not (tombstones - vault.tombstones() or vault.buried_tokens() or vault.plans()):
            return None
    erasure = erase_buried(ready, tombstones, now)
    if not erasure.is_proven:
        raise BackupError(
            f"People who were erased are still found in {', '.join(erasure.traces)} of what was "
            "restored, so it was thrown away. This is a fault of Larder: please report it."
        )
    return erasure


def _remember(ready: Settings, memory: Path) -> None:
    """Begin the build with what it must not forget: scores, and which seeds were in force when."""
    generations = list_generations(ready)
    with open_memory(ready) as connection:
        attach(connection, ready.build_database, "build", read_only=False)
        connection.execute("create schema build.marts; create schema build.snapshots")
        for file in sorted(memory.glob("*.parquet")):
            connection.execute(
                f"create table build.snapshots.{quoted(file.stem)} as "
                f"from read_parquet({literal(str(file))})"
            )
        if generations:
            newest = generation_file(ready, generations[0])
            attach(connection, newest, "generation", read_only=True)
            _copy_scores(connection)
        connection.execute("detach build")
    shutil.rmtree(memory, ignore_errors=True)


def _copy_scores(connection: duckdb.DuckDBPyConnection) -> None:
    rows = connection.execute(
        "select table_name from duckdb_tables() where database_name = 'generation' "
        "and schema_name = 'marts' and starts_with(table_name, 'ml_')"
    ).fetchall()
    for (name,) in rows:
        table = quoted(name)
        connection.execute(f"create table build.marts.{table} as from generation.marts.{table}")


def _tidy(ready: Settings) -> None:
    """Remove what working on it has left."""
    for leftover in (ready.home / ".spill", ready.raw_folder / "_aside"):
        shutil.rmtree(leftover, ignore_errors=True)
    for log in ready.vault_folder.glob("vault.sqlite-*"):
        log.unlink()


def _take_names(settings: Settings, ready: Settings) -> None:
    """Give everything its final name, the home last: that one rename is the restore."""
    landing, restored = _landing(settings), ready.home / "landing"
    if landing.is_relative_to(settings.home):
        inside = ready.home / landing.relative_to(settings.home)
        inside.parent.mkdir(parents=True, exist_ok=True)
        restored.rename(inside)
    else:
        beside = landing.with_name(f".{landing.name}.restoring")
        shutil.rmtree(beside, ignore_errors=True)
        landing.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(restored, beside)  # it may be another disk
        beside.replace(landing)
        shutil.rmtree(restored)
    os.sync()
    ready.home.replace(settings.home)
    descriptor = os.open(settings.home.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
