"""One parse for each target, and one compilation for each engine, shared by all gates."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dbt_client import Dbt

from larder.settings import PROJECT_ROOT, Settings

SNOWFLAKE = {"SNOWFLAKE_ACCOUNT": "none", "SNOWFLAKE_USER": "none"}
ASK_THE_WAREHOUSE = ("last_accepted", "newest_date", "newly_accepted")
PROJECT_PARTS = (
    "dbt_project.yml",
    "docs",
    "models",
    "python_models",
    "seeds",
    "snapshots",
    "analyses",
    "tests",
    "profiles",
    "larder",
    ".dbtignore",
)


@pytest.fixture(scope="session")
def manifest(dbt: Dbt, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The manifest of the development target, parsed with every warning an error."""
    home = tmp_path_factory.mktemp("parse_dev")
    result = dbt.run(
        home, "parse", "--warn-error", "--no-partial-parse", target_path=home, is_parsed=False
    )
    assert result.success, result.message
    parsed: dict[str, Any] = json.loads((home / "manifest.json").read_text(encoding="utf-8"))
    return parsed


@pytest.fixture(scope="session")
def nodes(manifest: dict[str, Any]) -> Callable[[str], list[dict[str, Any]]]:
    """A function: the nodes of a resource type, such as model."""

    def of(resource_type: str) -> list[dict[str, Any]]:
        return [
            node for node in manifest["nodes"].values() if node["resource_type"] == resource_type
        ]

    return of


@pytest.fixture(scope="session")
def compiled(
    dbt: Dbt, built_home: Settings, tmp_path_factory: pytest.TempPathFactory
) -> list[tuple[str, Path]]:
    """Dialect and file of all compiled SQL, for Snowflake without any connection.

    For Snowflake the incremental models both ways; DuckDB runs the other way in its own tests.
    Parsed for it with every warning an error: some deprecations show on that target only.
    """
    build = built_home.home / "dbt" / "build" / "compiled" / "larder"
    found = [("duckdb", file) for file in sorted(build.rglob("*.sql"))]
    for dialect, target, is_incremental in (
        ("snowflake", "prod", False),
        ("snowflake", "prod", True),
    ):
        home = tmp_path_factory.mktemp(f"compile_{target}")
        project = _project(home / "project", is_incremental)
        result = dbt.run(
            home,
            *("compile", "--warn-error", "--no-partial-parse"),
            *("--no-populate-cache", "--no-introspect"),
            target=target,
            target_path=home / "target",
            is_parsed=False,
            project=project,
            **SNOWFLAKE,
        )
        assert result.success, (target, result.message, result.problems)
        files = sorted((home / "target" / "compiled" / "larder").rglob("*.sql"))
        found += [(dialect, file) for file in files]
    return found


def _project(folder: Path, is_incremental: bool) -> Path:
    """Make a project that is this one, except that what asks the warehouse is answered here.

    Those are: has the incremental model been built before, and what is its newest record.
    """
    (folder / "macros").mkdir(parents=True)
    for entry in PROJECT_ROOT.iterdir():
        if entry.name in PROJECT_PARTS:
            (folder / entry.name).symlink_to(entry)
    for macro in (PROJECT_ROOT / "macros").glob("*.sql"):
        if macro.stem not in ASK_THE_WAREHOUSE:
            (folder / "macros" / macro.name).symlink_to(macro)
    (folder / "macros" / "built_before.sql").write_text(
        f"""
        {{% macro is_incremental() %}}
        {{{{ return({is_incremental} and model.config.materialized == 'incremental') }}}}
        {{% endmacro %}}
        """
        """
        {% macro last_accepted(relation) %}cast('2024-01-01' as timestamp){% endmacro %}
        {% macro newest_date(relation, column) %}cast('2024-01-01' as date){% endmacro %}
        {% macro newly_accepted(relation) %}accepted_at > {{ last_accepted(relation) }}
        {% endmacro %}
        """,
        encoding="utf-8",
    )
    return folder
