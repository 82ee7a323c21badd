"""Back the home up to a second place: encrypted, incremental, checked.

Two kinds of snapshots lie there. `larder-home` is the home at one moment. `larder-register` is
written before and after each of them: who was erased (keyed hashes), and which snapshots there are.
So tombstones travel without what they were taken from, and a snapshot that is gone is missed.

A snapshot from before an erasure still holds the person. Each is tagged with the erasures that it
knows, so the first backup that knows another one forgets those before it, and prunes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from larder.backup.frozen import ROOT, Frozen, frozen
from larder.backup.restic import HOST, Restic, Snapshot
from larder.errors import BackupError
from larder.lock import OnWait, hold, run_lock
from larder.settings import Settings
from loaders.vault import Tombstone

HOME, REGISTER = "larder-home", "larder-register"
REGISTER_FILE = "register.json"
KEPT_REGISTERS = 2
# A backup every night has then read everything once in about a month.
CHECKED_SHARE = "5%"
_POLICY = ("last", "hourly", "daily", "weekly", "monthly")


@dataclass(frozen=True)
class Register:
    """Hold what the newest register says; ids of snapshots by the time they were made."""

    tombstones: frozenset[Tombstone]
    snapshots: dict[str, str]


@dataclass(frozen=True)
class Backup:
    """Say what a backup did; sizes in bytes.

    `forgotten` snapshots went by the policy, `withdrawn` because they were from before an erasure;
    `missing` were there once, and somebody else has removed them.
    """

    snapshot: str
    files: int
    size_bytes: int
    added_bytes: int
    checked: str
    forgotten: int
    withdrawn: int
    missing: tuple[str, ...]


def back_up(
    settings: Settings,
    now: Callable[[], datetime],
    *,
    verify: bool = False,
    on_wait: OnWait | None = None,
) -> Backup:
    """Make a snapshot of the home at the second place, check it, and forget what is outdated.

    `verify` reads everything back instead of a part. The home is held still for as long as it takes
    to give its files a second name, so a run waits for seconds only.

    Raises:
        BackupError: there is nothing to back up, restic is not installed, or what lies at the
            place cannot be used; what was backed up before is as it was.
        SettingsError: no place is set, or a secret lies where it would be lost or given away.
    """
    restic = Restic(settings)
    if not settings.raw_folder.is_dir():
        raise BackupError(
            f"There is nothing to back up: {settings.home} holds no warehouse yet. `larder run` "
            "makes it."
        )
    with backup_lock(settings, "larder backup", on_wait):
        if not restic.is_there():
            restic.make()
        there = restic.snapshots()
        known = read_register(restic, there)
        with ExitStack() as stack:
            with run_lock(settings, "larder backup", on_wait):
                still = stack.enter_context(frozen(settings, now()))
            return _back_up(settings, restic, known, there, still, verify=verify)


def _back_up(
    settings: Settings,
    restic: Restic,
    known: Register | None,
    there: Sequence[Snapshot],
    still: Frozen,
    *,
    verify: bool,
) -> Backup:
    before = [one for one in there if HOME in one.tags]
    registers = [one.id for one in there if REGISTER in one.tags]
    missing = sorted(set(known.snapshots if known else ()) - {one.id for one in before})
    tombstones = still.tombstones | (known.tombstones if known else frozenset())
    if known is None or tombstones != known.tombstones:
        _write_register(restic, tombstones, before)
    targets, options = [ROOT], []
    if still.landing is not None:
        targets.append(str(still.landing))
        for pattern in (".*", "*.tmp", "_*"):
            options += ["--exclude", f"{_escaped(still.landing)}/**/{pattern}"]
    tags = [HOME, *still.manifest.tags()]
    made, summary = restic.backup(still.folder, targets, tags, *options)
    restic.check(None if verify else CHECKED_SHARE)
    erasures = still.manifest.erasures
    outdated = [one.id for one in before if one.tag("erasures") != erasures]
    if leaving := [*outdated, *registers[: 1 - KEPT_REGISTERS]]:
        restic.forget(*leaving)
    forgotten = restic.forget(*_policy(settings))
    if outdated or forgotten:
        # 5 % may stay unused for speed; of an erased person nothing may
        restic.prune(*(["--max-unused", "0"] if outdated else []))
    after = [one for one in restic.snapshots() if HOME in one.tags]
    _write_register(restic, tombstones, after)
    return Backup(
        snapshot=next(one.name for one in after if one.id.startswith(made)),
        files=still.manifest.files,
        size_bytes=still.manifest.size_bytes,
        added_bytes=summary["data_added"],
        checked="all data" if verify else f"{CHECKED_SHARE} of the data",
        forgotten=forgotten,
        withdrawn=len(outdated),
        missing=tuple(one[:8] for one in missing),
    )


def has_backup(settings: Settings) -> bool:
    """Tell whether the home has been backed up before.

    Raises:
        BackupError: the place cannot be reached or used.
    """
    return settings.backup is not None and Restic(settings).is_there()


def list_snapshots(settings: Settings) -> list[Snapshot]:
    """Return what could be restored, oldest first.

    Raises:
        BackupError: there is no backup, or it cannot be used.
    """
    return [one for one in require_backup(settings).snapshots() if HOME in one.tags]


def require_backup(settings: Settings) -> Restic:
    """Open the backup.

    Raises:
        BackupError: there is none, or it cannot be used.
    """
    restic = Restic(settings)
    if not restic.is_there():
        raise BackupError(
            f"There is no backup at {restic.place}. Correct LARDER_BACKUP; `larder backup` makes "
            "one."
        )
    return restic


def backup_lock(
    settings: Settings, command: str, on_wait: OnWait | None = None
) -> AbstractContextManager[None]:
    """Keep a second backup out, and an erasure, which would find the one that is being made."""
    settings.home.mkdir(parents=True, exist_ok=True)
    return hold(settings.home / "backup.lock", command, settings.lock_wait_seconds, on_wait)


def read_register(restic: Restic, there: Sequence[Snapshot]) -> Register | None:
    """Return what the newest register among the snapshots says, or null where there is none."""
    registers = [one for one in there if REGISTER in one.tags]
    if not registers:
        return None
    content = json.loads(restic.read(registers[-1].id, f"/{REGISTER_FILE}"))
    return Register(
        frozenset((domain, bytes.fromhex(hashed)) for domain, hashed in content["tombstones"]),
        content["snapshots"],
    )


def _write_register(
    restic: Restic, tombstones: frozenset[Tombstone], snapshots: Sequence[Snapshot]
) -> None:
    content = {
        "version": 1,
        "tombstones": sorted((domain, hashed.hex()) for domain, hashed in tombstones),
        "snapshots": {one.id: one.made_at.isoformat() for one in snapshots},
    }
    with TemporaryDirectory() as folder:
        (Path(folder) / REGISTER_FILE).write_text(json.dumps(content), encoding="utf-8")
        restic.backup(Path(folder), [REGISTER_FILE], [REGISTER])


def _policy(settings: Settings) -> list[str]:
    arguments = ["--host", HOST, "--group-by", "host", "--tag", HOME]
    for unit in _POLICY:
        kept = getattr(settings, f"backup_keep_{unit}")
        if kept:
            arguments += [f"--keep-{unit}", str(kept)]
    return arguments


def _escaped(folder: Path) -> str:
    """Return a path for restic's patterns."""
    return "".join(f"\\{one}" if one in "*?[]\\" else one for one in str(folder))
