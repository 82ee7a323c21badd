"""All compiled SQL is read by both engines' grammars, the incremental way too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import sqlglot
from sqlglot.errors import ParseError


def test_sqlglot_reads_every_statement(compiled: list[tuple[str, Path]]) -> None:
    assert {dialect for dialect, _ in compiled} == {"duckdb", "snowflake"}
    wrong = []
    for dialect, file in compiled:
        try:
            sqlglot.parse_one(file.read_text(encoding="utf-8"), read=dialect)
        except ParseError as error:
            wrong.append(f"{dialect} {file.name}: {error}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("dialect", ["snowflake", "duckdb"])
def test_sqlfluff_reads_every_model(
    dialect: str, compiled: list[tuple[str, Path]], tmp_path: Path
) -> None:
    """A second, stricter grammar; the models only, because it is slow."""
    for number, (of_file, file) in enumerate(compiled):
        if of_file == dialect and "models" in file.parts:
            name = f"{number:04d}_{file.name}"
            (tmp_path / name).write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    outcome = subprocess.run(
        [
            *(sys.executable, "-W", "ignore", "-m", "sqlfluff", "parse"),
            *("--dialect", dialect, "--templater", "raw", "--ignore-local-config"),
            *("--format", "none", "--nocolor", str(tmp_path)),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stdout[-3000:] + outcome.stderr[-1000:]
