"""One parse for each target, and one compilation for each engine, shared by all gates."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dbt_client import Dbt

from larder.settings import PROJECT_ROOT

ASK_THE_WAREHOUSE = ("last_accepted", "newest_date", "named_segments")
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
)


@pytest.fixture(scope="session")
def manifest(dbt: Dbt) -> dict[str, Any]:
    """The manifest of the development target."""
    parsed: dict[str, Any] = json.loads((dbt.parse() / "manifest.json").read_text(encoding="utf-8"))
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
def compiled(dbt: Dbt, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, Path]]:
    """Dialect and file of all compiled SQL: models both ways, tests, analyses; without a warehouse.

    With every warning an error on both targets: some deprecations show on one of them only.
    """
    found = []
    project = _project(tmp_path_factory.mktemp("compiled") / "without_warehouse")
    for dialect, target in (("duckdb", "dev"), ("snowflake", "prod")):
        home = project.with_name(target)
        for built_before, selected in (
            ("", []),
            ("yes", ["--select", "config.materialized:incremental"]),
        ):
            result = dbt.run(
                home,
                *("compile", "--warn-error", "--no-populate-cache", "--no-introspect", *selected),
                target=target,
                project=project,
                BUILT_BEFORE=built_before,
            )
            assert result.success, (target, result.message, result.problems)
            files = home / f"compiled{built_before}"
            (home / "dbt" / "compile" / "compiled" / "larder").replace(files)
            found += [(dialect, file) for file in sorted(files.rglob("*.sql"))]
    return found


def _project(folder: Path) -> Path:
    """Make a project that is this one, except that what asks the warehouse is answered here.

    Those are: has the incremental model been built before, what is its newest record, and which
    segments are new to it.
    """
    (folder / "macros").mkdir(parents=True)
    for entry in PROJECT_ROOT.iterdir():
        if entry.name in PROJECT_PARTS:
            (folder / entry.name).symlink_to(entry)
    for macro in (PROJECT_ROOT / "macros").glob("*.sql"):
        if macro.stem not in ASK_THE_WAREHOUSE:
            (folder / "macros" / macro.name).symlink_to(macro)
    (folder / "macros" / "built_before.sql").write_text(
        """
        {% macro is_incremental() %}
        {{ return(
            execute and env_var('BUILT_BEFORE') != ''
            and model.config.materialized == 'incremental'
        ) }}
        {% endmacro %}
        {% macro last_accepted(relation) %}cast('2024-01-01' as timestamp){% endmacro %}
        {% macro newest_date(relation, column) %}cast('2024-01-01' as date){% endmacro %}
        {% macro named_segments(condition) %}segment in ('a.parquet', 'b.parquet'){% endmacro %}
        """,
        encoding="utf-8",
    )
    return folder
