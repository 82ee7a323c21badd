"""Unit tests run where they are new: on a new version, on another engine, after a failure."""

from __future__ import annotations

from pathlib import Path

import pytest

from larder import build as building
from larder import build_state
from larder.errors import BuildError
from larder.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home whose build is there."""
    home = tmp_path / "warehouse"
    home.mkdir()
    made = Settings(home=home, key_file=tmp_path / "key")
    made.build_database.touch()
    return made


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is all of the project."""
    file = tmp_path / "project.sql"
    file.write_text("select 1", encoding="utf-8")
    monkeypatch.setattr(build_state, "PROJECT_ROOT", tmp_path)
    monkeypatch.setattr(build_state, "project_files", lambda: iter([file]))
    return file


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the next build fails with, if anything."""
    reasons: list[str] = []

    def run_dbt(settings: Settings, arguments: list[str], *_: object, **__: str) -> None:
        (settings.home / "arguments").write_text(" ".join(arguments), encoding="utf-8")
        if reasons:
            raise BuildError(reasons.pop())
        results = building.target_folder(settings, "build") / "run_results.json"
        results.parent.mkdir(parents=True, exist_ok=True)
        results.write_text('{"results": [], "elapsed_time": 1.0}', encoding="utf-8")

    monkeypatch.setattr(building, "run_dbt", run_dbt)
    return reasons


def unit_tests_run(settings: Settings, *, full_refresh: bool = False) -> bool:
    """Build, and tell whether dbt was asked for the unit tests, too."""
    building.build(settings, full_refresh=full_refresh)
    asked = (settings.home / "arguments").read_text(encoding="utf-8")
    return "--exclude-resource-type unit_test" not in asked


def test_they_run_once_for_a_version(
    settings: Settings, project: Path, fails: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not fails
    assert unit_tests_run(settings)
    assert not unit_tests_run(settings)
    assert not unit_tests_run(settings, full_refresh=True)
    project.write_text("select 2", encoding="utf-8")
    assert unit_tests_run(settings)
    assert not unit_tests_run(settings)
    assert unit_tests_run(settings.model_copy(update={"target": "ci"}))
    monkeypatch.setattr(build_state, "version", lambda _: "100.0")
    assert unit_tests_run(settings)


def test_they_run_again_until_they_have_passed(
    settings: Settings, project: Path, fails: list[str]
) -> None:
    assert project.exists()
    for _ in range(2):
        fails.append("a unit test failed")
        with pytest.raises(BuildError, match="a unit test failed"):
            unit_tests_run(settings)
    assert unit_tests_run(settings)
    fails.append("a test of the data failed")
    with pytest.raises(BuildError, match="a test of the data failed"):
        unit_tests_run(settings)
    assert not unit_tests_run(settings)
