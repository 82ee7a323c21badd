"""Backups and restores with restic itself, in folders and over HTTP."""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path
from typing import Any

import duckdb
import pytest
from backed_homes import Backed, files_in, require_equal, vault_rows, wrong_password
from buckets import make_bucket, s3_endpoint
from click.testing import CliRunner, Result
from erased_people import EMAIL, GONE
from landing_zone import NOW, Home, event, line, now
from warehouse_homes import run_larder

from larder.backup.frozen import frozen, frozen_folder
from larder.backup.restoring import restore
from larder.backup.taking import back_up, list_snapshots
from larder.build_state import fingerprint, published_from
from larder.cli import larder
from larder.errors import (
    BackupDamagedError,
    BackupError,
    BackupIncompleteError,
    BackupPasswordError,
    SettingsError,
)
from larder.serving.publish import describe_generation, published_generation
from larder.settings import Settings
from loaders.erasing import erase


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


def test_the_policy_forgets(machine: Backed) -> None:
    settings = machine.settings.model_copy(
        update={"backup_keep_last": 1}
        | {f"backup_keep_{unit}": 0 for unit in ("hourly", "daily", "weekly", "monthly")}
    )
    made = back_up(settings, now)
    assert (made.forgotten, made.withdrawn) == (1, 0)
    assert [one.name for one in list_snapshots(settings)] == [made.snapshot]


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
    found: dict[str, tuple[bytes, int]] = files_in(machine.settings.landing_folder)
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
    # the home of a host that loads for Snowflake holds the truth, too
    prod = ask(settings.model_copy(update={"target": "prod"}), "backup")
    assert "checked" in prod.stdout


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
