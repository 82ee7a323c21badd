"""Backups and restores with restic itself, in folders and over HTTP."""

from __future__ import annotations

import errno
import os
import re
import shutil
import sqlite3
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest
from buckets import make_bucket, s3_endpoint
from click.testing import CliRunner, Result
from erased_people import (
    EMAIL,
    GONE,
    NAME,
    PHONE,
    STAYS,
    build,
    die_at,
    everything,
    write_everything,
)
from landing_zone import NOW, Home, event, line, make_home, now
from warehouse_homes import run_larder

from larder.backup.frozen import frozen, frozen_folder
from larder.backup.restic import Restic
from larder.backup.restoring import restore
from larder.backup.taking import HOME, REGISTER, _write_register, back_up, list_snapshots
from larder.build_state import fingerprint, published_from, say_published
from larder.cli import larder
from larder.erasure import erase_everywhere, withdraw_from_backup
from larder.errors import (
    BackupDamagedError,
    BackupError,
    BackupIncompleteError,
    BackupPasswordError,
    KeyMismatchError,
    SettingsError,
)
from larder.keys import make_key
from larder.serving.publish import describe_generation, publish, published_generation
from larder.settings import Settings
from loaders.erasing import erase, erase_buried
from loaders.vault import open_vault


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


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Backed:
    """A home with a person everywhere, published and not backed up; read from it only."""
    folder = tmp_path_factory.mktemp("source") / "machine"
    home = Home(settings_in(folder))
    home.settings.landing_folder.mkdir(parents=True)
    write_everything(home)
    home.load()
    with open_vault(home.settings) as vault:
        (token,) = vault.known_tokens(GONE, ["commerce"])
    build(home, token)
    shutil.rmtree(home.settings.generations_folder)
    with duckdb.connect(str(home.settings.build_database)) as connection:
        connection.execute("create table marts.ml_scores as select date '2024-05-30' as as_of_date")
        connection.execute("create schema snapshots")
        connection.execute("create table snapshots.snap_hours as select 'kiosk' as kind, 1.5 as n")
    generation = publish(home.settings, NOW).generation
    say_published(home.settings, generation, fingerprint(home.settings))
    return Backed(home, token)


@pytest.fixture(scope="module")
def backed(source: Backed, tmp_path_factory: pytest.TempPathFactory) -> Backed:
    """The same with one backup; read from it only."""
    made = source.copy(tmp_path_factory.mktemp("backed") / "machine")
    back_up(made.settings, now)
    return made


@pytest.fixture
def machine(backed: Backed, tmp_path: Path) -> Backed:
    """A copy of the home and its backup, to be changed."""
    return backed.copy(tmp_path / "machine")


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


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_an_empty_machine_gets_an_equal_home_that_goes_on(backed: Backed, tmp_path: Path) -> None:
    restored = backed.elsewhere(home=tmp_path / "empty")
    restored.home.mkdir()

    report = restore(restored, now)

    require_equal(restored, backed.settings)
    assert (report.generation, report.erasure) == (published_generation(backed.settings), None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty"]
    home = Home(restored)
    assert home.load().files == 0
    # what the next run asks: it finds nothing to build, and leaves readers where they are
    assert published_from(restored) == {report.generation: fingerprint(restored)}
    home.land("fridge/stock_events/new.ndjson", line(event(9)))
    assert home.load().files == 1
    described = describe_generation(restored, report.generation or "")
    assert described.published_at == NOW
    for folder, mode in ((restored.vault_folder, 0o700), (restored.raw_folder, 0o700)):
        assert stat.S_IMODE(folder.stat().st_mode) == mode
    assert stat.S_IMODE((restored.vault_folder / "vault.sqlite").stat().st_mode) == 0o600
    with duckdb.connect(str(restored.build_database)) as connection:
        tables = connection.execute(
            "select schema_name || '.' || table_name from duckdb_tables() order by 1"
        ).fetchall()
        assert connection.execute("from snapshots.snap_hours").fetchall() == [("kiosk", 1.5)]
    assert tables == [("marts.ml_scores",), ("snapshots.snap_hours",)]


def test_neither_key_nor_password_is_in_the_backup(backed: Backed, tmp_path: Path) -> None:
    settings = backed.settings
    assert stat.S_IMODE(settings.backup_password_file.stat().st_mode) == 0o600
    restored = backed.elsewhere(home=tmp_path / "empty")
    restore(restored, now)
    for secret in (settings.key_file, settings.backup_password_file):
        text = secret.read_bytes().strip()
        for folder in (restored.home, backed.place):
            assert not any(
                text in path.read_bytes() for path in folder.rglob("*") if path.is_file()
            )
            assert secret.name not in [path.name for path in folder.rglob("*")]
    # and nothing can be read there without them
    assert not any(
        needle.encode() in path.read_bytes()
        for path in backed.place.rglob("*")
        if path.is_file()
        for needle in (GONE, EMAIL, backed.token, "fct_sales")
    )


def test_a_second_backup_adds_only_what_is_new(machine: Backed) -> None:
    before = size_of(machine.place)
    machine.home.land("fridge/stock_events/big.ndjson", os.urandom(1_000_000))
    made = back_up(machine.settings, now, verify=True)
    with_file = size_of(machine.place)
    assert 1_000_000 < with_file - before < 1_030_000
    assert made.checked == "all data"

    again = back_up(machine.settings, now)

    # the manifest and the register, with the folders that they are in
    assert size_of(machine.place) - with_file < 0.02 * with_file
    assert again.added_bytes < 0.02 * again.size_bytes
    assert len(list_snapshots(machine.settings)) == 3
    assert not frozen_folder(machine.settings).exists()


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


def test_the_policy_forgets(machine: Backed) -> None:
    settings = machine.settings.model_copy(
        update={"backup_keep_last": 1}
        | {f"backup_keep_{unit}": 0 for unit in ("hourly", "daily", "weekly", "monthly")}
    )
    made = back_up(settings, now)
    assert (made.forgotten, made.withdrawn) == (1, 0)
    assert [one.name for one in list_snapshots(settings)] == [made.snapshot]


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


@pytest.mark.parametrize("place", ["_erase_again", "_tidy", "_take_names"])
def test_a_restore_that_is_killed_leaves_nothing(
    backed: Backed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    restored = backed.elsewhere(home=tmp_path / "empty")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        die_at(patch, (f"larder.backup.restoring.{place}",), 1)
        restore(restored, now)
    assert not restored.home.exists()


def test_a_home_is_held_still_while_it_goes_on(source: Backed, tmp_path: Path) -> None:
    machine = source.copy(tmp_path / "machine")
    before = files_in(machine.settings.raw_folder), vault_rows(machine.settings)
    with frozen(machine.settings, NOW) as still:
        erase(machine.settings, GONE, now)  # not everywhere, which waits for the backup
        assert files_in(still.folder / "larder-home" / "raw") == before[0]
        copy = Settings(home=still.folder / "larder-home", key_file=machine.settings.key_file)
        assert vault_rows(copy) == before[1]
    assert files_in(machine.settings.raw_folder) != before[0]


@pytest.fixture
def with_landing(source: Backed, tmp_path: Path) -> Backed:
    """A home whose landing zone is a folder of its own, with a file that is still written."""
    machine = source.copy(tmp_path / "machine")
    landing = tmp_path / "land [1]" / "zone"
    landing.parent.mkdir()
    machine.settings.landing_folder.rename(landing)
    (landing / "fridge" / "stock_events" / "half.ndjson.tmp").write_text("{")
    (landing / "fridge" / "_hidden").mkdir()
    (landing / "fridge" / "_hidden" / "x.ndjson").write_text("{")
    return Backed(Home(machine.elsewhere(home=machine.settings.home, landing=landing)), "")


def landed(machine: Backed) -> dict[str, tuple[bytes, int]]:
    found = files_in(machine.settings.landing_folder)
    del found["fridge/stock_events/half.ndjson.tmp"], found["fridge/_hidden/x.ndjson"]
    return found


def test_a_landing_zone_elsewhere_is_held_still_where_it_can_be(with_landing: Backed) -> None:
    with frozen(with_landing.settings, NOW) as still:
        assert (still.landing, still.manifest.landing) == (None, "inside")
        assert files_in(still.folder / "larder-home" / "landing") == landed(with_landing)


def test_a_landing_zone_on_another_disk_comes_along(
    with_landing: Backed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def refuse(path: Path, *arguments: Any, **options: Any) -> None:
        if path.is_relative_to(with_landing.settings.landing_folder):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        link(path, *arguments, **options)

    monkeypatch.setattr(os, "link", refuse)
    back_up(with_landing.settings, now)

    restored = with_landing.elsewhere(landing=tmp_path / "other" / "zone")
    restore(restored, now)

    assert files_in(restored.landing_folder) == landed(with_landing)
    assert not (restored.home / "landing").exists()
    assert Home(restored).load().files == 0


def test_a_restore_never_mixes(
    backed: Backed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = backed.elsewhere(home=tmp_path / "full")
    settings.home.mkdir()
    (settings.home / "something").touch()
    with pytest.raises(BackupError, match=r"LARDER_HOME: .* holds something"):
        restore(settings, now)
    landing = settings.model_copy(update={"home": tmp_path / "no", "landing": settings.home})
    with pytest.raises(BackupError, match=r"LARDER_LANDING: .* holds something"):
        restore(landing, now)
    (settings.home / "something").unlink()
    monkeypatch.setattr(os.path, "ismount", lambda folder: folder == settings.home)
    with pytest.raises(BackupError, match="mount point"):
        restore(settings, now)


def test_a_second_place_is_another_place(source: Backed, tmp_path: Path) -> None:
    settings = source.settings
    for changes, sentence in (
        ({"backup": None}, "LARDER_BACKUP is not set"),
        ({"backup": str(settings.home / "backup")}, "is inside LARDER_HOME"),
        ({"backup_password_file": settings.home / "p"}, "LARDER_BACKUP_PASSWORD_FILE: .* inside"),
        ({"landing": settings.key_file.parent}, "LARDER_KEY_FILE: .* beside what it protects"),
    ):
        with pytest.raises(SettingsError, match=sentence):
            back_up(settings.model_copy(update={"backup": str(tmp_path / "b")} | changes), now)
    with pytest.raises(BackupError, match="nothing to back up"):
        back_up(settings.model_copy(update={"home": tmp_path / "new"}), now)


def test_restic_that_is_not_installed_is_a_sentence(
    backed: Backed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackupError, match=r"Install the package restic .*apt-get install restic"):
        restore(backed.elsewhere(home=tmp_path / "empty"), now)


def ask(settings: Settings, *arguments: str) -> Result:
    return CliRunner().invoke(larder, arguments, obj=settings)


def test_the_command_line_backs_up_erases_and_restores(machine: Backed) -> None:
    settings = machine.settings
    erased = ask(settings, "erase", GONE)
    assert "1 snapshots from before an erasure were removed for good" in erased.stdout
    assert "Keep elsewhere, and not beside the backup: the key file" in erased.stdout
    assert ask(settings, "backup", "--list").stdout.count("\n") == 2
    with pytest.raises(BackupError, match="holds something"):
        CliRunner().invoke(
            larder, ["restore"], obj=settings, catch_exceptions=False, standalone_mode=False
        )
    restored = ask(machine.elsewhere(), "restore")
    assert "each compared with its hash" in restored.stdout
    require_equal(machine.elsewhere(), settings)
    prod = ask(settings.model_copy(update={"target": "prod"}), "backup")
    assert "Snowflake keeps and replicates" in str(prod.exception)


def test_a_user_sees_a_sentence_and_no_traceback(machine: Backed) -> None:
    wrong_password(machine)
    settings = machine.settings
    wrong = run_larder(
        settings.home.with_name("other"),
        "restore",
        LARDER_BACKUP=str(settings.backup),
        LARDER_BACKUP_PASSWORD_FILE=str(settings.backup_password_file),
        LARDER_KEY_FILE=str(settings.key_file),
    )
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert re.search("error: The password in .* does not open the backup", wrong.stderr)
    assert "Traceback" not in wrong.stderr
    assert settings.backup_password_file.read_text() not in wrong.stderr


def test_a_bucket_is_a_second_place_too(source: Backed, tmp_path: Path) -> None:
    machine = source.copy(tmp_path / "machine")
    with s3_endpoint() as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        client = make_bucket("second-region")
        settings = machine.settings.model_copy(
            update={"backup": f"s3:{url}/second-region/of/larder"}
        )
        back_up(settings, now)
        restored = settings.model_copy(update={"home": tmp_path / "empty"})
        restore(restored, now)
        require_equal(restored, settings)

        keys = [one["Key"] for one in client.list_objects_v2(Bucket="second-region")["Contents"]]
        assert all(key.startswith("of/larder/") for key in keys)
        pack = max(
            (key for key in keys if "/data/" in key),
            key=lambda key: client.head_object(Bucket="second-region", Key=key)["ContentLength"],
        )
        content = bytearray(client.get_object(Bucket="second-region", Key=pack)["Body"].read())
        content[len(content) // 2] ^= 1
        other = settings.model_copy(update={"home": tmp_path / "other"})
        client.put_object(Bucket="second-region", Key=pack, Body=bytes(content))
        with pytest.raises(BackupDamagedError):
            restore(other, now)
        client.delete_object(Bucket="second-region", Key=pack)
        with pytest.raises(BackupIncompleteError):
            restore(other, now)
        wrong_password(machine)
        with pytest.raises(BackupPasswordError):
            restore(other, now)
        assert not other.home.exists()
    away = settings.model_copy(update={"backup": f"s3:{url}/second-region/of/larder"})
    with pytest.raises(BackupError, match=r"LARDER_BACKUP: .* cannot be used"):
        restore(away.model_copy(update={"home": tmp_path / "other"}), now)
