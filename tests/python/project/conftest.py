"""One parse for each target, and one compilation for each engine, shared by all gates."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dbt_client import Dbt

# Instead of what asks the warehouse: has the incremental model been built before, what is its
# newest record, and which segments are new to it.
ANSWERS = {
    "macro.dbt.is_incremental": """
        {% macro is_incremental() %}
        {{ return(
            execute and env_var('BUILT_BEFORE') != ''
            and model.config.materialized == 'incremental'
        ) }}
        {% endmacro %}
    """,
    "macro.larder.last_accepted": """
        {% macro last_accepted(relation) %}cast('2024-01-01' as timestamp){% endmacro %}
    """,
    "macro.larder.newest_date": """
        {% macro newest_date(relation, column, condition='') %}cast('2024-01-01' as date)
        {%- endmacro %}
    """,
    "macro.larder.named_segments": """
        {% macro named_segments(condition) %}segment in ('a.parquet', 'b.parquet'){% endmacro %}
    """,
}


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
    folder = tmp_path_factory.mktemp("compiled")
    for dialect, target in (("duckdb", "dev"), ("snowflake", "prod")):
        home = folder / target
        for built_before, selected in (
            ("", []),
            (
                "yes",
                ["--select", "config.materialized:incremental", "--indirect-selection", "empty"],
            ),
        ):
            result = dbt.run(
                home,
                *("compile", "--warn-error", "--no-populate-cache", "--no-introspect", *selected),
                target=target,
                macros=ANSWERS,
                BUILT_BEFORE=built_before,
            )
            assert result.success, (target, result.message, result.problems)
            files = home / f"compiled{built_before}"
            (home / "dbt" / "compile" / "compiled" / "larder").replace(files)
            found += [(dialect, file) for file in sorted(files.rglob("*.sql"))]
    return found
