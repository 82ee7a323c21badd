"""Whoever is erased leaves the backup, and stays out of what is restored."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from backed_homes import Backed, published_rows, require_equal
from erased_people import EMAIL, GONE, NAME, PHONE, STAYS, everything
from landing_zone import Home, event, line, make_home, now

from larder.backup.restic import Restic
from larder.backup.restoring import restore
from larder.backup.taking import HOME, _write_register, back_up, list_snapshots
from larder.erasure import erase_everywhere, withdraw_from_backup
from larder.errors import BackupError
from larder.settings import Settings
from loaders.erasing import erase_buried
from loaders.vault import open_vault


def test_whoever_is_erased_leaves_the_backup(machine: Backed) -> None:
    (before,) = list_snapshots(machine.settings)

    erase_everywhere(machine.settings, GONE, now)
    made = withdraw_from_backup(machine.settings, now)

    assert made and made.withdrawn == 1
    assert [one.name for one in list_snapshots(machine.settings)] == [made.snapshot]
    with pytest.raises(BackupError, match="no snapshot"):
        restore(machine.elsewhere(), now, before.name)
    # nothing is left that no snapshot needs
    assert "0 B" in Restic(machine.settings)._run("prune", "--dry-run", "--max-unused", "0")
    report = restore(machine.elsewhere(), now)
    assert report.erasure is None
    require_equal(machine.elsewhere(), machine.settings)
    require_gone(machine.elsewhere(), machine.token)


def require_gone(settings: Settings, token: str) -> None:
    with open_vault(settings) as vault:
        hashed = vault.hashes([GONE])[0]
        assert vault.known_tokens(GONE) == vault.known_tokens("patient-0017") == []
        assert ("commerce", hashed) in vault.tombstones()
    left = everything(Home(settings))
    for trace in (GONE, EMAIL, NAME, PHONE, "patient-0017", token, hashed.hex()):
        assert trace.encode() not in left
    assert token.encode() not in (settings.vault_folder / "vault.sqlite").read_bytes()
    assert STAYS.encode() in left


def test_a_snapshot_from_before_an_erasure_is_restored_without_the_person(machine: Backed) -> None:
    """As when the place was away on the day of the erasure, and only tombstones got there."""
    settings = machine.settings
    there = [one for one in Restic(settings).snapshots() if HOME in one.tags]
    others = len(machine.home.keys())
    erase_everywhere(settings, GONE, now)
    with open_vault(settings) as vault:
        _write_register(Restic(settings), frozenset(vault.tombstones()), there)

    report = restore(machine.elsewhere(), now, there[0].name)

    assert report.erasure and report.erasure.is_proven
    assert report.erasure.unsearchable == []
    restored = machine.elsewhere()
    require_gone(restored, machine.token)
    home = Home(restored)
    assert home.keys() == machine.home.keys() != others
    assert home.rejections() == machine.home.rejections()
    assert published_rows(restored)["dim_customers"] == [("f" * 32, "30-39")]
    assert published_rows(restored) == published_rows(settings)
    assert home.load().files == 0
    home.land("accounts/consents/again.ndjson", line({"customer_id": GONE}))
    home.load()
    with open_vault(restored) as vault:
        assert vault.known_tokens(GONE) == []


def test_people_are_found_by_their_hash_wherever_they_are(tmp_path: Path) -> None:
    """In a field, in what nobody could read, in a file that was rejected whole, as a patient."""
    home = make_home(tmp_path)
    home.land("fridge/stock_events/a.ndjson", line(event(1, customer_id="in-a-field")))
    home.land("orders/order_lines/a.ndjson", b'{"customer_id": "in-broken-text", "order_i\n')
    home.land("feedback/ratings/a.ndjson", line({"rating_id": "r"}))
    home.land(
        "clinic/observations/a.ndjson",
        line({"id": "o", "meta": {}, "subject": {"reference": "Patient/as-a-patient"}})
        + line(
            {
                "id": "o2",
                "meta": {"lastUpdated": "2024-01-01T00:00:00Z"},
                "subject": {"reference": "Patient/as-a-patient"},
            }
        ),
    )
    home.load()
    home.land("feedback/ratings/a.ndjson", line({"rating_id": "r", "customer_id": "in-a-change"}))
    home.load()
    gone = ("in-a-field", "in-broken-text", "in-a-change", "as-a-patient")
    with open_vault(home.settings) as vault:
        domains = ("commerce", "commerce", "commerce", "health")
        tombstones = [(d, vault.hashes([g])[0]) for d, g in zip(domains, gone, strict=True)]

    report = erase_buried(home.settings, tombstones, now)

    assert (report.traces, report.unsearchable) == ([], [])
    left = everything(home)
    assert not [one for one in gone if one.encode() in left]
    assert home.keys("fridge/stock_events") == ["e1"]


def test_a_place_out_of_reach_is_told_and_made_good_by_the_next_backup(machine: Backed) -> None:
    away = machine.place.with_name("away")
    erase_everywhere(machine.settings, GONE, now)
    machine.place.rename(away)
    machine.place.mkdir()
    (machine.place / "keys").mkdir()
    (machine.place / "keys" / "half").touch()
    with pytest.raises(BackupError, match="the backup still holds who was erased"):
        withdraw_from_backup(machine.settings, now)
    shutil.rmtree(machine.place)
    away.rename(machine.place)

    assert back_up(machine.settings, now).withdrawn == 1
    restore(machine.elsewhere(), now)
    require_gone(machine.elsewhere(), machine.token)


def test_who_has_no_backup_is_erased_without_one(source: Backed, tmp_path: Path) -> None:
    settings = source.settings.model_copy(update={"backup": str(tmp_path / "none")})
    assert withdraw_from_backup(settings, now) is None
    assert withdraw_from_backup(settings.model_copy(update={"backup": None}), now) is None
    assert not (tmp_path / "none").exists()
