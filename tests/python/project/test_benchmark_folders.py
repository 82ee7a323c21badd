"""What a benchmark writes never comes into a commit, also where it was killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import collector
from larder.settings import PROJECT_ROOT


def test_the_files_of_servers_lie_where_git_ignores_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with collector.folder_on_disk() as folder:
        assert folder.is_dir()
        (name, _) = folder.relative_to(PROJECT_ROOT).parts
    assert not folder.exists()
    assert f"/{name}/" in (PROJECT_ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_yet_is_made(tmp_path: Path) -> None:
    with collector.folder_on_disk(tmp_path / "build") as folder:
        assert folder.parent == tmp_path / "build"


@pytest.mark.parametrize(
    "file", sorted((PROJECT_ROOT / "benchmarks").glob("*.py")), ids=lambda file: file.stem
)
def test_no_benchmark_writes_where_it_is_started(file: Path) -> None:
    assert "cwd()" not in file.read_text(encoding="utf-8")
