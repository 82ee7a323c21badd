"""Masking fails closed: what is flagged is tagged, and what has no policy stops a deployment.

Flags are compared with what dbt itself reads from the project.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from dbt_client import Dbt
from snowflake_account import BUILT, CUSTOMERS, RECORDS, Account

from larder.deploy.applying import Plan, deploy, make_plan
from larder.deploy.flags import Column, flagged_columns
from larder.errors import DeployError
from larder.settings import PROJECT_ROOT, Settings


@pytest.fixture
def plan(deployable: Settings) -> Plan:
    """Everything that can be applied."""
    return make_plan(deployable)


def test_the_flags_are_those_that_dbt_reads(dbt: Dbt) -> None:
    manifest = json.loads((dbt.parse("prod") / "manifest.json").read_text(encoding="utf-8"))
    nodes = [*manifest["nodes"].values(), *manifest["sources"].values()]
    expected = {
        ("larder_analytics", node["schema"], node.get("identifier") or node["name"], column)
        for node in nodes
        for column, entry in node.get("columns", {}).items()
        if entry["config"].get("meta", {}).get("personal")
    }
    assert len(expected) > 20
    found = {(item.database, item.schema, item.table, item.name) for item in flagged_columns()}
    assert {item for item in found if item[0] == "larder_analytics"} == expected
    records = {item[3] for item in found if item[:3] == ("larder_raw", "landing", "records")}
    assert records == {"payload", "natural_key", "content_hash"}
    assert not {item for item in found if item[0] == "larder"}, "personal data is published"


def test_each_flagged_column_that_is_there_is_tagged_and_masked(plan: Plan) -> None:
    account = Account()
    deployment = deploy(plan, account)
    assert deployment.masked_columns == 8
    assert {f"{RECORDS}.payload", f"{CUSTOMERS}.full_name", f"{CUSTOMERS}.birth_date"} <= (
        account.tagged
    )
    assert f"{CUSTOMERS}.region" not in account.tagged
    assert "larder_analytics.staging" in account.tagged, "what dbt replaces would be open"


def test_every_column_type_of_snowflake_has_a_policy_that_is_closed_to_others(plan: Plan) -> None:
    bodies = [
        statement.sql
        for statement in plan.before_check
        if statement.sql.startswith("alter masking policy")
    ]
    account = Account()
    deploy(plan, account)
    assert account.policies == {
        *("varchar", "number", "float", "boolean", "date", "variant", "array", "object", "binary"),
        *("timestamp_ntz", "timestamp_ltz", "timestamp_tz"),
    }
    assert len(bodies) == len(account.policies)
    for body in bodies:
        assert body.endswith(
            "case when current_role() in "
            "('LARDER_LOADER', 'LARDER_TRANSFORMER', 'LARDER_PRIVACY_OFFICER') then val end"
        )


@pytest.mark.parametrize(
    ("built", "status"),
    [
        # a type that the tag has no policy for
        (
            {
                **BUILT,
                CUSTOMERS: ("VIEW", {"full_name": "varchar", "birth_date": "geography"}),
            },
            "ACTIVE",
        ),
        # a policy that Snowflake lists and cannot use
        ({CUSTOMERS: BUILT[CUSTOMERS]}, "MULTIPLE_MASKING_POLICY_ASSIGNED_TO_THE_COLUMN"),
    ],
    ids=["no policy for the type", "policy not active"],
)
def test_a_flagged_column_without_a_policy_stops_before_anybody_is_let_in(
    plan: Plan, built: dict[str, tuple[str, dict[str, str]]], status: str
) -> None:
    account = Account(built=built, status=status)
    with pytest.raises(DeployError, match=r"stg_accounts__customers\.birth_date") as raised:
        deploy(plan, account)
    assert raised.value.exit_code == 1
    assert ("full_name" in str(raised.value)) == (status != "ACTIVE")
    assert not [
        sql for sql in account.statements if sql.startswith(("grant usage", "grant select"))
    ]
    assert not account.staged


def test_a_column_that_becomes_flagged_is_tagged_or_stops(tmp_path: Path) -> None:
    """One source of truth: a new line of YAML is enough."""
    for part in ("dbt_project.yml", "seeds", "snapshots"):
        (tmp_path / part).symlink_to(PROJECT_ROOT / part)
    folder = tmp_path / "models" / "dimensions" / "accounts"
    folder.mkdir(parents=True)
    column = {"name": "shoe_size", "config": {"meta": {"personal": True}}}
    model = {"models": [{"name": "dim_customers", "columns": [column]}]}
    (folder / "_accounts__models.yml").write_text(yaml.safe_dump(model), encoding="utf-8")
    found = set(flagged_columns(tmp_path))
    assert Column("larder_analytics", "marts", "dim_customers", "shoe_size") in found
    assert Column("larder", "marts", "dim_customers", "shoe_size") in found
    payload = Column("larder_analytics", "raw", "accounts_customers", "payload")
    assert payload in found, "what entities.yml says is flagged without any YAML of dbt's"


def test_a_flag_on_what_is_no_name_is_refused() -> None:
    with pytest.raises(DeployError, match="Rename it"):
        Column("larder", "marts", "dim_items", "id; drop table x")
