"""The layer rule: a layer looks only downwards, and nobody looks at people but `anonymised/`.

The packages of Python have a rule of their own, the last test.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Any

import pytest

from larder.settings import PROJECT_ROOT

Nodes = Callable[[str], list[dict[str, Any]]]

# layer → what it may read. Two roads more than the house style names: what the scores look at is
# made of facts (int_stock__score_days, int_orders__candidates), and so is the one base of all
# reports over time (int_stock__item_days); these are steps, and no tables for users. Nothing below
# the scores reads scores, nothing reads a report, and only the anonymised layer reads people.
MAY_READ = {
    "staging": {"source"},
    "anonymised": {"staging"},
    "intermediate": {"anonymised", "intermediate", "staging", "facts", "dimensions"},
    "facts": {"anonymised", "intermediate", "facts", "dimensions"},
    "dimensions": {"anonymised", "intermediate", "facts", "dimensions", "staging"},
    "scores": {"facts", "dimensions", "intermediate", "scores"},
    "reports": {"facts", "dimensions", "intermediate", "scores"},
}
PREFIXES = {
    "staging": "stg_",
    "anonymised": "anon_",
    "intermediate": "int_",
    "facts": "fct_",
    "dimensions": "dim_",
    "scores": "ml_",
    "reports": "rpt_",
}
DOMAIN_IN_NAME = ("staging", "anonymised", "intermediate")


def layer(node: dict[str, Any]) -> str:
    """Return the layer of a node: its first folder, or its resource type."""
    if node["resource_type"] != "model":
        return str(node["resource_type"])
    return PurePosixPath(node["path"]).parts[0]


def models(nodes: Nodes) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the models by name."""
    for node in sorted(nodes("model"), key=lambda node: str(node["name"])):
        yield node["name"], node


def test_every_model_lies_two_folders_deep_and_is_named_for_them(nodes: Nodes) -> None:
    for name, node in models(nodes):
        parts = PurePosixPath(node["path"]).parts
        # Python models are one domain, so far: their layer is their folder
        assert len(parts) == (2 if node["language"] == "python" else 3), f"{name}: {parts}"
        kind, domain = parts[0], parts[1]
        assert kind in MAY_READ, f"{name}: unknown layer {kind}"
        prefix = PREFIXES[kind] + (f"{domain}__" if kind in DOMAIN_IN_NAME else "")
        assert name.startswith(prefix), f"{name}: its name does not begin with {prefix}"
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name), name


def test_a_layer_looks_only_downwards(manifest: dict[str, Any], nodes: Nodes) -> None:
    everything = manifest["nodes"] | manifest["sources"]
    wrong = []
    for name, node in models(nodes):
        for parent_id in node["depends_on"]["nodes"]:
            parent = everything[parent_id]
            if layer(parent) not in MAY_READ[layer(node)] | {"seed"}:
                wrong.append(f"{name} ({layer(node)}) reads {parent['name']} ({layer(parent)})")
    assert not wrong, "\n".join(wrong)


# An incremental model sees a changed seed only if it compares what the seed gives with what it had;
# for these test_incremental.py shows that they do, or the column that they read is of no seed.
SEES_CHANGED_SEEDS = {"int_catalog__location_clocks", "int_stock__location_scopes"}


def test_a_changed_seed_reaches_every_incremental_model_by_one_that_sees_it(
    manifest: dict[str, Any], nodes: Nodes
) -> None:
    open_ids = [seed["unique_id"] for seed in nodes("seed")]
    seen = set(open_ids)
    while open_ids:
        for child in manifest["child_map"][open_ids.pop()]:
            node = manifest["nodes"].get(child, {})
            # scores are history, which nothing changes afterwards
            if node.get("resource_type") != "model" or layer(node) == "scores" or child in seen:
                continue
            seen.add(child)
            if node["config"]["materialized"] != "incremental":
                open_ids.append(child)
            else:
                assert node["name"] in SEES_CHANGED_SEEDS, f"{node['name']} reads a seed"


def holds_person(node: dict[str, Any]) -> bool:
    """Tell whether a staging model has a person in it: a token, or a column flagged as personal."""
    return any(
        name.endswith("_token") or column["config"].get("meta", {}).get("personal")
        for name, column in node["columns"].items()
    )


def test_people_are_read_by_the_anonymised_layer_only(
    manifest: dict[str, Any], nodes: Nodes
) -> None:
    people = {
        node["unique_id"]
        for _, node in models(nodes)
        if layer(node) == "staging" and holds_person(node)
    }
    assert {"stg_accounts__customers", "stg_feedback__ratings"} <= {
        manifest["nodes"][unique_id]["name"] for unique_id in people
    }
    readers = [
        f"{name} reads {manifest['nodes'][parent]['name']}"
        for name, node in models(nodes)
        if layer(node) != "anonymised"
        for parent in people & set(node["depends_on"]["nodes"])
    ]
    assert not readers, "\n".join(readers)


def test_a_staging_model_reads_the_source_of_its_name_alone(
    manifest: dict[str, Any], nodes: Nodes
) -> None:
    for name, node in models(nodes):
        # what the loader records of itself is of all entities, under names of its own
        if layer(node) == "staging" and not name.startswith("stg_raw__"):
            (parent,) = node["depends_on"]["nodes"]
            source = manifest["sources"][parent]
            assert name == f"stg_{source['source_name']}__{source['name']}"


@pytest.mark.parametrize("column", ["full_name", "email", "phone", "birth_date", "postcode"])
def test_no_personal_column_is_named_after_the_anonymised_layer(nodes: Nodes, column: str) -> None:
    for name, node in models(nodes):
        if layer(node) in ("staging", "anonymised"):
            continue
        code = (PROJECT_ROOT / node["original_file_path"]).read_text(encoding="utf-8")
        bare = re.sub(r"--.*|\{#.*?#\}|#.*", "", code)
        assert not re.search(rf"\b{column}\b", bare), f"{name} names {column}"


# package → what of ours it may import, as CONTRIBUTING.md says; `larder/` itself may import all
LOADERS_USE = (
    *("settings", "errors", "keys", "lock", "progress", "stopping"),
    *("warehouse", "snowflake"),
)
MAY_IMPORT = {
    "larder/learning": {"larder.learning"},
    "larder/serving": {"larder.serving"}
    | {f"larder.{name}" for name in ("settings", "errors", "lock", "warehouse", "snowflake")},
    "loaders": {"loaders"} | {f"larder.{name}" for name in LOADERS_USE},
    "python_models": {"larder.learning"},
}
# … and the mathematics opens no file, connection or process
PURE = ("larder/learning", "python_models")
IMPURE = {"duckdb", "dbt", "os", "io", "pathlib", "shutil", "socket", "sqlite3", "subprocess"}


def imports(code: str) -> Iterator[str]:
    """Yield the full name of everything that a file imports."""
    for statement in ast.walk(ast.parse(code)):
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            yield from (f"{statement.module}.{alias.name}" for alias in statement.names)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_what_it_may(package: str) -> None:
    files = sorted((PROJECT_ROOT / package).rglob("*.py"))
    assert files
    wrong = []
    for file in files:
        for name in imports(file.read_text(encoding="utf-8")):
            top = name.partition(".")[0]
            is_ours = top in ("larder", "loaders")
            if is_ours and not any(f"{name}.".startswith(f"{may}.") for may in MAY_IMPORT[package]):
                wrong.append(f"{file.relative_to(PROJECT_ROOT)} imports {name}")
            if package in PURE and top in IMPURE:
                wrong.append(f"{file.relative_to(PROJECT_ROOT)} imports {name}")
    assert not wrong, "\n".join(wrong)


# landing zone, event bus, the collector's Lambda and the lake
SDK_PLACES = (
    "loaders/s3/",
    "loaders/bus/kinesis.py",
    "loaders/collector/gateway.py",
    "larder/serving/places.py",
)


def test_the_aws_sdk_is_imported_in_its_places_only() -> None:
    users = set()
    for package in ("larder", "loaders", "python_models"):
        for file in sorted((PROJECT_ROOT / package).rglob("*.py")):
            tops = {name.partition(".")[0] for name in imports(file.read_text(encoding="utf-8"))}
            if tops & {"boto3", "botocore"}:
                users.add(file.relative_to(PROJECT_ROOT).as_posix())
    assert {"loaders/bus/kinesis.py", "loaders/s3/client.py"} <= users
    assert not [user for user in users if not user.startswith(SDK_PLACES)]
