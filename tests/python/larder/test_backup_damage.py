"""What is lost, damaged or killed: told apart, and nothing half restored."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from backed_homes import Backed, files_in, flip, part, require_equal, wrong_password
from erased_people import die_at
from landing_zone import event, line, now

from larder.backup.restic import Restic
from larder.backup.restoring import restore
from larder.backup.taking import HOME, REGISTER, back_up, list_snapshots
from larder.errors import (
    BackupDamagedError,
    BackupError,
    BackupIncompleteError,
    BackupPasswordError,
    KeyMismatchError,
)
from larder.keys import make_key


def wrong_key(backed: Backed) -> None:
    backed.settings.key_file.unlink()
    make_key(backed.settings.key_file)


KINDS = ("data", "index", "keys", "config", HOME)


DAMAGES: dict[str, tuple[Callable[[Backed], None], type[Exception], str]] = {
    "wrong password": (wrong_password, BackupPasswordError, "does not open the backup"),
    "no password": (
        lambda one: one.settings.backup_password_file.unlink(),
        BackupPasswordError,
        "password file .* is missing",
    ),
    "wrong key": (wrong_key, KeyMismatchError, "was made with key .* nothing was restored"),
    "no key": (lambda one: one.settings.key_file.unlink(), KeyMismatchError, "is missing"),
    "no backup": (lambda one: shutil.rmtree(one.place), BackupError, "There is no backup at"),
    **{
        f"flipped bit: {kind}": (
            lambda one, kind=kind: flip(part(one, kind)),  # type: ignore[misc]
            BackupDamagedError,
            "is damaged, a file is not what was written: .* Bring it back",
        )
        for kind in (*KINDS, REGISTER)
    },
    **{
        f"missing part: {kind}": (
            lambda one, kind=kind: part(one, kind).unlink(),  # type: ignore[misc]
            BackupIncompleteError,
            "A part of the backup at .* is missing: .* Bring",
        )
        for kind in KINDS
    },
}


@pytest.mark.parametrize(("damage", "error", "sentence"), DAMAGES.values(), ids=DAMAGES)
def test_what_is_wrong_with_a_backup_is_told_apart(
    machine: Backed, damage: Callable[[Backed], None], error: type[Exception], sentence: str
) -> None:
    damage(machine)
    empty = machine.elsewhere()

    with pytest.raises(error, match=sentence) as raised:
        restore(empty, now)

    assert type(raised.value) is error
    assert not empty.home.exists()
    assert not list(empty.home.parent.glob(".empty.restoring*"))


def test_a_register_that_is_gone_is_missed_and_can_be_done_without(machine: Backed) -> None:
    there = Restic(machine.settings).snapshots()
    for one in there:
        if REGISTER in one.tags:
            (machine.place / "snapshots" / one.id).unlink()
    with pytest.raises(BackupIncompleteError, match="the register is gone, which knows who was"):
        restore(machine.elsewhere(), now)
    chosen = next(one for one in there if HOME in one.tags)
    report = restore(machine.elsewhere(), now, chosen.name)
    assert "the register is gone" in report.warnings[0]
    require_equal(machine.elsewhere(), machine.settings)


def test_an_earlier_snapshot_can_be_restored_when_the_newest_is_gone(machine: Backed) -> None:
    first = list_snapshots(machine.settings)[0]
    before = files_in(machine.settings.raw_folder)
    machine.home.land("fridge/stock_events/new.ndjson", line(event(9)))
    machine.home.load()
    back_up(machine.settings, now)
    newest = list_snapshots(machine.settings)[-1]
    (machine.place / "snapshots" / newest.id).unlink()

    with pytest.raises(BackupIncompleteError, match=rf"such as {newest.name}.*{first.name} of"):
        restore(machine.elsewhere(), now)
    with pytest.raises(BackupIncompleteError, match=f"snapshot {newest.name} is gone"):
        restore(machine.elsewhere(), now, newest.name)
    restore(machine.elsewhere(), now, first.name)
    assert files_in(machine.elsewhere().raw_folder) == before
    # the next backup says it, and goes on
    assert back_up(machine.settings, now).missing == (newest.name,)


def test_a_backup_finds_damage_and_forgets_nothing_then(machine: Backed) -> None:
    flip(part(machine, "data"))
    settings = machine.settings.model_copy(update={"backup_keep_last": 1})
    with pytest.raises(BackupDamagedError):
        back_up(settings, now, verify=True)
    assert len(list_snapshots(machine.settings)) == 2


@pytest.mark.parametrize("place", ["_erase_again", "_tidy", "_take_names"])
def test_a_restore_that_is_killed_leaves_nothing(
    backed: Backed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    restored = backed.elsewhere(home=tmp_path / "empty")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        die_at(patch, (f"larder.backup.restoring.{place}",), 1)
        restore(restored, now)
    assert not restored.home.exists()
