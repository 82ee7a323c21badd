"""What the tests take from the computer that they run on: nothing of its user's settings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from warehouse_homes import settings_of

from larder.settings import PROJECT_ROOT, Settings

SHOW = "from larder.settings import Settings; print(Settings().model_dump_json())"


@pytest.fixture(scope="session")
def early_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings made as the homes that all tests share are."""
    settings: Settings = settings_of(tmp_path_factory.mktemp("early") / "home")
    return settings


def test_settings_are_the_defaults_here_and_in_other_processes(early_settings: Settings) -> None:
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    here = Settings.model_construct(**defaults)
    expected = {name: getattr(here, name) for name in ("landing", "target", "as_of")}
    shown = subprocess.run(
        [sys.executable, "-c", SHOW], stdout=subprocess.PIPE, text=True, check=True
    )
    other = Settings.model_validate_json(shown.stdout)
    for settings in (early_settings, Settings(), other):
        assert {name: getattr(settings, name) for name in expected} == expected
        assert settings.memory_limit == defaults["memory_limit"]


def test_they_are_whatever_the_user_has_set(tmp_path: Path) -> None:
    landing = tmp_path / "landing"
    (tmp_path / ".env").write_text(f"LARDER_LANDING={landing}\nLARDER_TARGET=prod\n")
    inner = f"{__file__}::{test_settings_are_the_defaults_here_and_in_other_processes.__name__}"
    pytest_alone = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*pytest_alone, "-c", PROJECT_ROOT / "pyproject.toml", inner],
        cwd=tmp_path,
        env=os.environ | {"LARDER_AS_OF": "2020-01-01", "LARDER_MEMORY_LIMIT": "3GB"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
