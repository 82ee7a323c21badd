"""What `make run` does, as a user meets it, and plain dbt over what it has loaded."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from warehouse_homes import PROGRAM, run_larder

from larder.cli import DONE
from larder.settings import PROJECT_ROOT


@pytest.fixture(scope="module")
def sample_home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """What `make run` does, with less of it: the warehouse, and what the main job printed.

    Six weeks, so that there are days on which scores can be tested.
    """
    home = tmp_path_factory.mktemp("sample") / "warehouse"
    written = run_larder(home, "sample", "--days", "42", "--locations", "5")
    assert written.returncode == DONE, written.stderr
    finished = run_larder(home, "run", COLUMNS="200")
    assert finished.returncode == DONE, finished.stdout + finished.stderr
    return home, finished.stdout


@pytest.mark.parametrize(
    ("title", "rows"),
    [
        ("What may be wasted: the ten riskiest items", 10),
        ("What to order for the next delivery", 5),
        ("What the week from", 3),
        ("Alerts", 1),
        ("How good the scores are", 4),
        ("What could not be taken as it came", 5),
    ],
)
def test_the_main_job_tells_a_manager(sample_home: tuple[Path, str], title: str, rows: int) -> None:
    _, printed = sample_home
    (section,) = [part for part in printed.strip().split("\n\n") if part.startswith(title)]
    assert len(section.splitlines()) >= rows + 2, section
    assert "nothing to report" not in section


def test_the_main_job_says_where_its_results_are(sample_home: tuple[Path, str]) -> None:
    home, printed = sample_home
    for result in ("larder.duckdb", "docs/index.html"):
        assert str(home / result) in printed
        assert (home / result).exists()


def test_plain_dbt_builds_what_was_loaded(sample_home: tuple[Path, str], tmp_path: Path) -> None:
    """As a user's CI does it: no program of ours, and no audit, between the load and the build."""
    sampled, _ = sample_home
    home = tmp_path / "warehouse"
    shutil.copytree(sampled / "raw", home / "raw")
    finished = subprocess.run(
        [PROGRAM.with_name("dbt"), "build", "--no-use-colors"],
        cwd=PROJECT_ROOT,
        env=os.environ
        | {
            "LARDER_HOME": str(home),
            "DBT_PROFILES_DIR": "profiles",
            "DBT_TARGET_PATH": str(tmp_path / "target"),
            "DBT_LOG_PATH": str(tmp_path / "logs"),
        },
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert finished.returncode == 0, finished.stdout[-3000:]
    counts = dict(re.findall(r"(PASS|WARN|ERROR|SKIP)=(\d+)", finished.stdout))
    assert int(counts.pop("PASS")) > 200
    assert counts == {"WARN": "0", "ERROR": "0", "SKIP": "0"}
