"""What the tests of the deployment share, and those of the backup."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import pytest
from backed_homes import Backed, settings_in
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from erased_people import GONE, build, write_everything
from landing_zone import NOW, Home, now
from snowflake_account import whole_settings

from larder.backup.taking import back_up
from larder.build_state import fingerprint, say_published
from larder.serving.publish import publish
from larder.settings import Settings
from loaders.vault import open_vault


@pytest.fixture(scope="session")
def public_key() -> bytes:
    """A public key in PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture
def deployable(tmp_path: Path, public_key: bytes) -> Settings:
    """Settings with which nothing of the set-up is left out."""
    (tmp_path / "service.pub").write_bytes(public_key)
    settings: Settings = whole_settings(tmp_path / "warehouse")
    return settings


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def backed(source: Backed, tmp_path_factory: pytest.TempPathFactory) -> Backed:
    """The same with one backup; read from it only."""
    made = source.copy(tmp_path_factory.mktemp("backed") / "machine")
    back_up(made.settings, now)
    return made


@pytest.fixture
def machine(backed: Backed, tmp_path: Path) -> Backed:
    """A copy of the home and its backup, to be changed."""
    return backed.copy(tmp_path / "machine")
