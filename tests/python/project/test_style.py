"""What style.md asks of every model, seed, snapshot and YAML file, as far as a machine can tell."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import duckdb
from test_layers import layer, models

from larder.settings import PROJECT_ROOT, Settings

Nodes = Callable[[str], list[dict[str, Any]]]

YAML_LINES = 300
MOST_COPIES = 3
PUBLIC_LAYERS = ("facts", "dimensions", "scores", "reports")


# A null of these is a value: everywhere, no issue, nobody knows, no visit, no position.
NULL_IN_KEYS = {
    "int_catalog__promoted_times": {"location_id"},
    "int_trips__positions_inside": {"event_id", "geofence_id"},
    "int_trips__visits": {"geofence_id", "evidence", "visit_number"},
    "int_quality__segment_issues": {"reason", "detail"},
    "int_stock__units_held": {"expires_on"},
}


def columns_by_test(manifest: dict[str, Any]) -> dict[str, dict[str, set[str]]]:
    """Return model id → generic test → the columns it is on."""
    found: dict[str, dict[str, set[str]]] = {}
    for node in manifest["nodes"].values():
        if node["resource_type"] == "test" and node.get("test_metadata"):
            metadata = node["test_metadata"]
            arguments = metadata["kwargs"]
            columns = (
                arguments.get("columns")
                or arguments.get("combination_of_columns")
                or [node.get("column_name")]
            )
            tests = found.setdefault(node.get("attached_node") or "", {})
            tests.setdefault(metadata["name"], set()).update(filter(None, columns))
    return found


def test_every_model_and_column_is_described(nodes: Nodes) -> None:
    missing = []
    for name, node in models(nodes):
        if not node["description"]:
            missing.append(f"{name} has no description")
        if not node["columns"]:
            missing.append(f"{name} lists no columns")
        missing += [
            f"{name}.{column} has no description"
            for column, description in node["columns"].items()
            if not description["description"]
        ]
    assert not missing, "\n".join(missing)


def test_every_column_that_is_built_is_described(built_home: Settings, nodes: Nodes) -> None:
    """The other way round too: what is described is there."""
    with duckdb.connect(str(built_home.build_database), read_only=True) as connection:
        rows = connection.execute(
            "select table_schema, table_name, column_name from information_schema.columns"
        ).fetchall()
    built: dict[tuple[str, str], set[str]] = {}
    for schema, table, column in rows:
        built.setdefault((schema, table), set()).add(column)
    wrong = []
    for name, node in models(nodes):
        columns = built[node["schema"], name]
        described = {column for column, entry in node["columns"].items() if entry["description"]}
        wrong += [f"{name}.{column} is not described" for column in sorted(columns - described)]
        wrong += [f"{name}.{column} is not there" for column in sorted(described - columns)]
    assert not wrong, "\n".join(wrong)


def test_no_description_is_written_again_and_again(nodes: Nodes) -> None:
    """What many tables share is written once, in docs/columns.md."""
    places: dict[tuple[str, str], list[str]] = {}
    for name, node in models(nodes):
        for column, entry in node["columns"].items():
            if not entry["doc_blocks"]:
                places.setdefault((column, entry["description"]), []).append(name)
    again = {key: names for key, names in places.items() if len(names) > MOST_COPIES}
    assert not again, again


def test_every_seed_and_snapshot_is_described_and_every_seed_says_why(nodes: Nodes) -> None:
    for node in nodes("seed"):
        assert node["description"], node["name"]
        assert {"reason", "why"} & node["columns"].keys(), f"{node['name']}: no reason column"
        assert all(column["description"] for column in node["columns"].values()), node["name"]
    for node in nodes("snapshot"):
        assert node["description"], node["name"]


def test_a_description_and_a_file_begin_with_the_grain(nodes: Nodes) -> None:
    wrong = []
    for name, node in models(nodes):
        if not re.match(r"One row\b", node["description"]):
            wrong.append(f"{name}: the description does not begin with its grain")
        if node["language"] == "sql" and not re.match(r"-- one row\b", node["raw_code"].lstrip()):
            wrong.append(f"{name}: the file does not begin with its grain")
    assert not wrong, "\n".join(wrong)


def test_every_public_model_has_an_enforced_contract(nodes: Nodes) -> None:
    wrong = []
    for name, node in models(nodes):
        if layer(node) not in PUBLIC_LAYERS:
            continue
        if node["access"] != "public":
            wrong.append(f"{name} is not public")
        # dbt enforces no contract on a Python model: its types are tested on what was built
        if node["language"] == "sql" and not node["contract"]["enforced"]:
            wrong.append(f"{name} has no enforced contract")
        wrong += [
            f"{name}.{column} has no data_type"
            for column, description in node["columns"].items()
            if not description["data_type"]
        ]
    assert not wrong, "\n".join(wrong)


def test_every_key_is_tested(manifest: dict[str, Any], nodes: Nodes) -> None:
    """Staging holds what was delivered twice; its keys are tested one layer on."""
    tests = columns_by_test(manifest)
    singular = " ".join(
        node["raw_code"]
        for node in nodes("test")
        if not node.get("test_metadata") and "unique" in node["name"]
    )
    wrong = []
    for name, node in models(nodes):
        if layer(node) == "staging":
            continue
        of_model = tests.get(node["unique_id"], {})
        has_unique = any("unique" in test for test in of_model) or f"'{name}'" in singular
        # a table of one row needs no key
        if not has_unique and not node["description"].startswith("One row:"):
            wrong.append(f"{name}: no test that its key is unique")
        key = of_model.get("unique") or of_model.get("unique_combination") or set()
        # the engine itself holds a constraint
        never_null = of_model.get("not_null", set()) | of_model.get("never_null", set())
        never_null |= {
            column
            for column, described in node["columns"].items()
            if any(constraint["type"] == "not_null" for constraint in described["constraints"])
        }
        missing = key - never_null - NULL_IN_KEYS.get(name, set())
        if missing or (not never_null and not node["description"].startswith("One row:")):
            wrong.append(f"{name}: may be null in its key: {', '.join(sorted(missing))}")
    assert not wrong, "\n".join(wrong)


def test_what_nothing_reads_has_a_declared_reader(manifest: dict[str, Any], nodes: Nodes) -> None:
    exposed = {
        parent
        for exposure in manifest["exposures"].values()
        for parent in exposure["depends_on"]["nodes"]
    }
    dead = []
    for name, node in models(nodes):
        readers = [
            child
            for child in manifest["child_map"][node["unique_id"]]
            if not child.startswith(("test.", "unit_test."))
        ]
        if not readers and node["unique_id"] not in exposed:
            dead.append(name)
    assert not dead, f"nothing reads {', '.join(dead)}: delete it or declare an exposure"
    for exposure in manifest["exposures"].values():
        assert exposure["owner"].get("name") or exposure["owner"].get("email"), exposure["name"]


def test_yaml_files_stay_short_and_are_named_for_their_folder() -> None:
    wrong = []
    for file in sorted((PROJECT_ROOT / "models").rglob("*.yml")):
        lines = len(file.read_text(encoding="utf-8").splitlines())
        if lines > YAML_LINES:
            wrong.append(f"{file.relative_to(PROJECT_ROOT)} has {lines} lines")
        # the one file of who reads what, across all layers
        if file.name == "_exposures.yml" and file.parent.name == "models":
            continue
        if not re.fullmatch(
            rf"_{file.parent.name}__(models|sources|unit_tests|exposures)\w*\.yml", file.name
        ):
            wrong.append(f"{file.relative_to(PROJECT_ROOT)}: its name")
    assert not wrong, "\n".join(wrong)


def test_macros_stand_alone_and_stay_short() -> None:
    for file in sorted((PROJECT_ROOT / "macros").glob("*.sql")):
        text = file.read_text(encoding="utf-8")
        assert re.search(rf"\bmacro {file.stem}\b", text), f"{file.name}: no macro of that name"
        assert text.lstrip().startswith("{#"), f"{file.name}: does not begin with what it is for"
        for macro in re.findall(r"{%-? macro .*?endmacro.*?%}", text, re.DOTALL):
            assert len(macro.splitlines()) <= 45, f"{file.name}: {len(macro.splitlines())} lines"
