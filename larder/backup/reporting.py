"""How the command line shows backups and restores."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from larder.backup.restic import Snapshot
from larder.backup.restoring import Restored
from larder.backup.taking import Backup
from larder.settings import Settings


def print_backup(console: Console, settings: Settings, backup: Backup) -> None:
    """Print what a backup did, and what it does not hold."""
    console.print(
        f"Snapshot {backup.snapshot} at {settings.backup}: {backup.files:,} files of "
        f"{backup.size_bytes / 1e6:,.1f} MB, {backup.added_bytes / 1e6:,.1f} MB of them new; "
        f"checked, {backup.checked} read back.",
        highlight=False,
        soft_wrap=True,
    )
    if backup.withdrawn:
        console.print(
            f"{backup.withdrawn} snapshots from before an erasure were removed for good.",
            highlight=False,
        )
    if backup.forgotten:
        console.print(f"{backup.forgotten} older snapshots were forgotten.", highlight=False)
    for snapshot in backup.missing:
        console.print(
            f"[yellow]missing:[/yellow] snapshot {snapshot} was there and is gone.",
            highlight=False,
        )
    console.print(
        "[yellow]Keep elsewhere, and not beside the backup:[/yellow] the key file "
        f"{settings.key_file} and the password file {settings.backup_password_file}. Neither is in "
        "the backup, and without both nothing can be restored.",
        highlight=False,
        soft_wrap=True,
    )


def print_restored(console: Console, settings: Settings, restored: Restored) -> None:
    """Print what was restored, and what was taken out of it again."""
    for warning in restored.warnings:
        console.print(f"[yellow]warning:[/yellow] {warning}", highlight=False, soft_wrap=True)
    console.print(
        f"Snapshot {restored.snapshot} of {restored.made_at:%Y-%m-%d %H:%M} UTC is in "
        f"{settings.home}: {restored.files:,} files of {restored.size_bytes / 1e6:,.1f} MB, each "
        "compared with its hash.",
        highlight=False,
        soft_wrap=True,
    )
    if restored.erasure is not None:
        console.print(
            "People who were erased after it was made are erased again: "
            f"{restored.erasure.records_removed:,} records removed, "
            f"{restored.erasure.records_kept_without_person:,} kept without them. Proved by "
            f"searching {restored.erasure.searched_files:,} files.",
            highlight=False,
            soft_wrap=True,
        )
        for file in restored.erasure.unsearchable:
            console.print(f"[red]not searchable:[/red] {file}", highlight=False, soft_wrap=True)
    console.print(
        f"Readers have generation {restored.generation}." if restored.generation else "",
        "`larder run` goes on from here.",
        highlight=False,
    )


def print_snapshots(console: Console, snapshots: Sequence[Snapshot]) -> None:
    """Print what could be restored, oldest first."""
    table = Table(box=None)
    for column in ("snapshot", "made at (UTC)", "as of", "key"):
        table.add_column(column)
    for one in snapshots:
        key, as_of = one.tag("key") or "", one.tag("as-of") or ""
        table.add_row(one.name, f"{one.made_at:%Y-%m-%d %H:%M}", as_of, key)
    console.print(table)
