"""The homes of the warehouses that tests build, and the program run on them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pytest

from larder.build_state import mark_unit_tested, unit_test_fingerprint
from larder.cli import main
from larder.settings import Settings

# When the tests' loads and publications happen; the sample network ends on 2019-04-30.
NOW = datetime(2019, 5, 1, 5, 0, tzinfo=UTC)
# What a folder of analyses is about, where a small network may have none of it.
ANALYSED = {"delivery": "fct_trips", "menu": "fct_menu_events"}
PROGRAM = Path(sys.executable).with_name("larder")


def settings_of(home: Path) -> Settings:
    """Return the settings of a home folder whose key lies beside it."""
    return Settings(home=home, key_file=home.with_name(f"{home.name}.key"))


def skip_unit_tests(settings: Settings) -> None:
    """Take dbt's unit tests for passed, on made-up data, whatever the home.

    test_main_job.py runs them on DuckDB and test_whole_job.py on Snowflake.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    mark_unit_tested(settings, unit_test_fingerprint(settings))


def run_larder(home: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the program as a user does, in a folder that has nothing to do with the project."""
    home.parent.mkdir(parents=True, exist_ok=True)
    return subprocess.run(
        [PROGRAM, *arguments],
        cwd=home.parent,
        env=os.environ
        | {"LARDER_HOME": str(home), "LARDER_KEY_FILE": str(settings_of(home).key_file)}
        | variables,
        capture_output=True,
        text=True,
        timeout=600,
    )


@contextmanager
def following(settings: Settings) -> Iterator[subprocess.Popen[str]]:
    """Load what arrives, in a process of its own, until the block ends."""
    with subprocess.Popen(
        [PROGRAM, "load", "--follow"],
        env=os.environ
        | {"LARDER_HOME": str(settings.home), "LARDER_KEY_FILE": str(settings.key_file)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.terminate()


def refused_larder(
    home: Path, *arguments: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run what ends before it does anything in this process: the start costs more than all else."""
    said, complained = StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patch:
        variables |= {"LARDER_HOME": str(home), "LARDER_KEY_FILE": str(settings_of(home).key_file)}
        for name, value in variables.items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["larder", *arguments])
        with (
            redirect_stdout(said),
            redirect_stderr(complained),
            pytest.raises(SystemExit) as ended,
        ):
            main()
    code = ended.value.code
    assert isinstance(code, int)
    return subprocess.CompletedProcess(arguments, code, said.getvalue(), complained.getvalue())
