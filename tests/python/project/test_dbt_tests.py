"""dbt's own tests, on the sample network: units, keys, relations and the business's identities."""

from __future__ import annotations

import shutil
from pathlib import Path

from dbt_client import Dbt

from larder.settings import Settings


def test_dbts_own_tests_pass(dbt: Dbt, built_home: Settings, tmp_path: Path) -> None:
    home = tmp_path / "warehouse"
    home.mkdir()
    # the tests write their failures and stand-ins beside the models
    shutil.copy(built_home.build_database, home / "build.duckdb")
    result = dbt.run(home, "test")
    assert result.success, result.problems or result.message
    assert len(result.results) > 100
