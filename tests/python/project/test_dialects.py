"""All compiled SQL is read by both engines' grammars, the incremental way too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import sqlglot
from sqlglot.errors import ParseError

# What the stand-in macros answer when an incremental model asks for its newest record.
NEWEST_RECORD = "'2024-01-01'"


def test_sqlglot_reads_every_statement(compiled: list[tuple[str, Path]]) -> None:
    wrong = []
    incremental = set()
    for dialect, file in compiled:
        code = file.read_text(encoding="utf-8")
        if NEWEST_RECORD in code:
            incremental.add(dialect)
        try:
            sqlglot.parse_one(code, read=dialect)
        except ParseError as error:
            wrong.append(f"{dialect} {file.name}: {error}")
    assert incremental == {"duckdb", "snowflake"}
    assert not wrong, "\n".join(wrong)


def test_sqlfluff_reads_every_model_for_snowflake(
    compiled: list[tuple[str, Path]], tmp_path: Path
) -> None:
    """A second, stricter grammar. That of DuckDB is read by the linter and by DuckDB itself."""
    codes = {
        file.read_text(encoding="utf-8"): file.name
        for dialect, file in compiled
        if dialect == "snowflake" and "models" in file.parts and not file.parent.suffix
    }
    assert codes
    for number, (code, name) in enumerate(codes.items()):
        (tmp_path / f"{number:04d}_{name}").write_text(code, encoding="utf-8")
    outcome = subprocess.run(
        [
            *(sys.executable, "-W", "ignore", "-m", "sqlfluff", "lint"),
            *("--dialect", "snowflake", "--templater", "raw", "--ignore-local-config"),
            # one cheap rule: what cannot be parsed is reported whatever the rules
            *("--rules", "layout.end_of_file", "--exclude-rules", "layout.end_of_file"),
            *("--nocolor", "--disable-progress-bar", str(tmp_path)),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    unparsable = [line for line in outcome.stdout.splitlines() if "PRS" in line or "FAIL" in line]
    assert outcome.returncode == 0, "\n".join(unparsable) or outcome.stderr[-2000:]
