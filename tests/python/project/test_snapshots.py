"""Snapshots remember a seed as it was, one row for each time that a row of it was in force."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from dbt_client import Dbt
from warehouse_homes import settings_of

SEEDS = ["opening_hours", "age_groups", "audit_thresholds"]


@pytest.fixture(scope="module")
def home(dbt: Dbt, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose snapshots were taken, two rows of a seed changed, and taken twice again."""
    home = tmp_path_factory.mktemp("snapshots") / "home"
    home.mkdir()
    for command in ("seed", "snapshot", None, "snapshot", "snapshot"):
        if command is None:
            with duckdb.connect(str(settings_of(home).build_database)) as connection:
                connection.execute(
                    "update seeds.audit_thresholds set threshold = threshold / 2 "
                    "where expectation = 'rejected_share'"
                )
        else:
            result = dbt.run(home, command)
            assert result.success, (result.message, result.problems)
    return home


@pytest.mark.parametrize("seed", SEEDS)
def test_what_has_not_changed_is_there_once(home: Path, seed: str) -> None:
    with duckdb.connect(str(settings_of(home).build_database), read_only=True) as connection:
        counts = connection.execute(
            f"select (select count(*) from seeds.{seed}), "
            "count(*) filter (where dbt_valid_to is null), "
            f"count(*) filter (where dbt_valid_to is not null) from snapshots.snap_{seed}"
        ).fetchall()[0]
    assert counts[0] == counts[1]
    # both rows about whole records, which name no column
    assert counts[2] == (2 if seed == "audit_thresholds" else 0)
