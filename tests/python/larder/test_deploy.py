"""The set-up of Snowflake: its grammar, order, idempotence, rights and words.

No account is there: Snowflake's grammar is that of two parsers, and what is asked of the account is
answered by a stand-in. What only an account can prove is listed in
docs/production.md.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import fakesnow
import pytest
import snowflake.connector
import sqlglot
import yaml
from click.testing import CliRunner
from snowflake.connector.errors import ProgrammingError
from snowflake_account import BUILT, Account, whole_settings
from sqlfluff.core import FluffConfig, Linter

from larder.cli import larder
from larder.deploy.applying import Plan, deploy, make_plan
from larder.deploy.statements import FOLDER, SECOND_REGION, Statement, read_statements
from larder.deploy.variables import variables
from larder.errors import DeployError
from larder.settings import PROJECT_ROOT, Settings
from loaders.checks import SEGMENT_COLUMNS

# What sqlfluff's grammar does not know, as Snowflake documents it; sqlglot takes these as opaque
# commands, so their form is written out here.
POLICY = r"masking policy [\w.]+"
UNKNOWN_TO_SQLFLUFF = (
    re.compile(rf"alter tag [\w.]+ set\s+{POLICY}(,\s+{POLICY})*\s+force"),
    re.compile(
        r"create replication group if not exists \w+\s+object_types = databases\s+"
        r"allowed_databases = \w+\s+allowed_accounts = \w+\.\w+\s+"
        r"replication_schedule = '\d+ minute'"
    ),
    re.compile(r"create replication group if not exists \w+\s+as replica of \w+\.\w+\.\w+"),
    re.compile(r"alter replication group \w+ set\s+replication_schedule = '\d+ minute'"),
    re.compile(r"alter replication group \w+ refresh"),
)
# what a second deployment must not contain, whatever the reason
DESTRUCTIVE = re.compile(
    r"\b(create or replace|drop|truncate|undrop|unset|revoke|swap|rename|suspend task)\b"
)


@pytest.fixture
def plan(deployable: Settings) -> Plan:
    """Everything that can be applied."""
    return make_plan(deployable)


@pytest.fixture
def linter() -> Iterator[Linter]:
    """Snowflake's grammar."""
    logging.disable()
    yield Linter(config=FluffConfig(overrides={"dialect": "snowflake", "templater": "raw"}))
    logging.disable(logging.NOTSET)


def test_both_grammars_read_every_statement(
    plan: Plan, deployable: Settings, linter: Linter
) -> None:
    second, _ = read_statements(variables(deployable), SECOND_REGION)
    queries = [
        Statement(file.read_text(encoding="utf-8"), file.name, 1)
        for file in sorted((FOLDER / "queries").glob("*.sql"))
    ]
    assert queries
    statements = [*plan.statements(), *second, *queries]
    assert len(statements) > 150
    wrong = []
    used = set()
    for statement in statements:
        unknown = [form for form in UNKNOWN_TO_SQLFLUFF if form.fullmatch(statement.sql)]
        used |= set(unknown)
        sqlglot.parse_one(statement.sql, read="snowflake")
        if not unknown and linter.parse_string(f"{statement.sql};\n").violations:
            wrong.append(f"{statement.place}: {statement.title}")
    assert not wrong, "\n".join(wrong)
    assert used == set(UNKNOWN_TO_SQLFLUFF), "an exception that nothing needs"


def test_every_file_is_read_and_every_statement_is_one(plan: Plan) -> None:
    files = {f"deploy/snowflake/{file.name}" for file in FOLDER.glob("*.sql")}
    statements = [*plan.before_check, *plan.after_check]
    assert {statement.file for statement in statements} == files
    for statement in statements:
        assert ";" not in statement.sql, statement.place
        first = statement.sql.splitlines()[0]
        line = (PROJECT_ROOT / statement.file).read_text().splitlines()[statement.line - 1]
        assert line.split("{{")[0].rstrip(";") in first, statement.place


# what the emulator does inside is none of ours
@pytest.mark.filterwarnings("ignore:Arrow output on a DB-API:UserWarning")
def test_tables_and_stages_are_made_on_an_emulated_snowflake_and_stay(
    deployable: Settings,
) -> None:
    statements, _ = read_statements(variables(deployable))
    made = [
        item for item in statements if Path(item.file).name in ("10_databases.sql", "20_tables.sql")
    ]
    with fakesnow.patch():
        cursor = snowflake.connector.connect(user="larder", account="larder").cursor()
        for statement in made:
            cursor.execute(statement.sql)
        cursor.execute("insert into larder_raw.landing.records (segment) values ('kept')")
        for statement in made:
            cursor.execute(statement.sql)
        cursor.execute("select segment from larder_raw.landing.records")
        assert cursor.fetchall() == [("kept",)]
        cursor.execute(
            "select lower(column_name) from larder_raw.information_schema.columns "
            "where table_name = 'RECORDS'"
        )
        assert {row[0] for row in cursor.fetchall()} == {*SEGMENT_COLUMNS, "segment"}


def test_every_schema_of_dbt_is_made_and_granted(plan: Plan) -> None:
    project = yaml.safe_load((PROJECT_ROOT / "dbt_project.yml").read_text(encoding="utf-8"))
    schemas = {"raw"} | {
        part["+schema"]
        for kind in ("models", "seeds", "snapshots")
        for part in (project[kind]["larder"], *project[kind]["larder"].values())
        if isinstance(part, dict) and "+schema" in part
    }
    text = "\n".join(statement.sql for statement in plan.statements())
    for schema in schemas:
        assert f"create schema if not exists larder_analytics.{schema}\n" in text
        assert f"alter schema larder_analytics.{schema} enable managed access" in text
        assert re.search(
            rf"create view[\w, ]*\s+on schema larder_analytics\.{schema}\s+"
            "to role larder_transformer",
            text,
        ), schema


def test_what_is_used_is_made_before_and_nobody_is_let_in_before_the_check(
    plan: Plan,
) -> None:
    account = Account()
    deploy(plan, account)
    made: set[str] = set()
    last_check = max(
        number for number, sql in enumerate(account.statements) if "policy_references" in sql
    )
    for number, sql in enumerate(account.statements):
        if found := re.match(
            r"create (?:database|schema|transient table|stage|role|user|warehouse|tag|"
            r"masking policy|stream|file format|pipe|task|storage integration) "
            r"if not exists (?P<name>[\w.]+)",
            sql,
        ):
            name = found["name"]
            assert name.rpartition(".")[0] in made | {""}, f"{name} before what it is in"
            made.add(name)
        if found := re.match(r"alter (?:warehouse|user|schema|task|tag) (?P<name>[\w.]+)", sql):
            assert found["name"] in made, sql
        if sql.startswith("grant") and " on " in sql:
            assert number > last_check, sql


def test_a_second_deployment_repeats_itself_and_destroys_nothing(plan: Plan) -> None:
    account = Account()
    deploy(plan, account)
    first, account.statements = account.statements, []
    deploy(plan, account)
    assert account.statements == first
    for sql in first:
        assert not DESTRUCTIVE.search(sql.lower()), sql
        if sql.startswith("create "):
            assert " if not exists " in sql.split("\n")[0], sql
    assert not any(sql.startswith("remove") for sql in first)


GRANT = re.compile(
    r"grant (?P<privileges>[a-z, ]+)\s+on (?P<scope>all \w+ in |future \w+ in )?"
    r"(?P<kind>file format|\w+)(?: (?P<name>[\w.]+))?\s+to role (?P<role>\w+)"
    r"( copy current grants)?"
)
HIERARCHY = re.compile(r"grant (database )?role [\w.]+ to (role|user) \w+")


def rights(plan: Plan) -> Iterator[tuple[str, str, str, str]]:
    """Yield role, privilege, kind and name of everything that is granted on something."""
    for statement in plan.statements():
        if not statement.sql.startswith("grant") or HIERARCHY.fullmatch(statement.sql):
            continue
        found = GRANT.fullmatch(statement.sql)
        assert found, f"{statement.place} is read by no test: {statement.sql}"
        for privilege in found["privileges"].split(","):
            kind = f"{found['scope'] or ''}{found['kind']}"
            yield found["role"], privilege.strip(), kind, found["name"] or ""


def databases_of(plan: Plan, role: str) -> set[str]:
    """Return the databases that a role has any right in."""
    return {
        name.partition(".")[0]
        for grantee, _, kind, name in rights(plan)
        if grantee == role and kind not in ("warehouse", "account", "integration")
    }


def test_a_role_has_no_more_rights_than_its_work_needs(plan: Plan) -> None:
    assert databases_of(plan, "larder_reader") == {"larder"}
    assert databases_of(plan, "larder_loader") == {"larder_raw", "larder_vault"}
    assert databases_of(plan, "larder_transformer") == {"larder_raw", "larder_analytics", "larder"}
    on_vault = {role for role, _, _, name in rights(plan) if name.startswith("larder_vault")}
    assert on_vault == {"larder_loader", "larder_privacy_officer"}
    changes = [(role, name) for role, right, _, name in rights(plan) if right == "update"]
    assert changes == [("larder_loader", "larder_vault.people.fingerprint")]
    of_reader = {privilege for role, privilege, _, _ in rights(plan) if role == "larder_reader"}
    assert of_reader == {"usage", "select"}
    on_raw = {
        privilege
        for role, privilege, kind, name in rights(plan)
        if role == "larder_transformer" and name.startswith("larder_raw")
    }
    assert on_raw == {"usage", "select"}
    assert not {"all", "all privileges", "manage grants"} & {
        right for _, right, _, _ in rights(plan)
    }
    assert {role for role, *_ in rights(plan)} - {"sysadmin"} == {
        "larder_loader",
        "larder_transformer",
        "larder_reader",
        "larder_privacy_officer",
    }
    owned = [(role, name) for role, right, _, name in rights(plan) if right == "ownership"]
    assert owned == [("larder_transformer", "larder.marts")]


def test_who_may_take_an_erased_person_out_of_what(plan: Plan) -> None:
    """The job itself: as loader of what it wrote, as transformer of the tables that it owns."""
    may_delete = {
        (role, name.partition(".")[0])
        for role, right, _, name in rights(plan)
        if right in ("delete", "truncate", "update")
    }
    officer = "larder_privacy_officer"
    assert may_delete == {
        ("larder_loader", "larder_raw"),
        ("larder_loader", "larder_vault"),
    }
    text = "\n".join(statement.sql for statement in plan.statements())
    assert f"grant role {officer} to user" not in text
    # who answers persons changes nothing
    assert {right for role, right, _, _ in rights(plan) if role == officer} == {
        "usage",
        "select",
        "read",
    }


def test_what_is_made_later_has_the_same_rights(plan: Plan) -> None:
    """Whoever may use all tables or views of a place may use future ones, and the other way."""
    now: set[tuple[str, str, str, str]] = set()
    later: set[tuple[str, str, str, str]] = set()
    for role, privilege, kind, name in rights(plan):
        scope, _, rest = kind.partition(" ")
        if scope in ("all", "future"):
            (now if scope == "all" else later).add((role, privilege, rest, name))
    # schemas of the analytics are all made here, so future ones are granted to nobody
    schemas = {right for right in now if right[2:] == ("schemas in database", "larder_analytics")}
    assert now - schemas == later


def test_the_service_logs_in_with_a_key_alone(plan: Plan, public_key: bytes) -> None:
    users = [item.sql for item in plan.statements() if item.sql.startswith("create user")]
    assert len(users) == 1
    assert all("type = service" in sql and "password" not in sql for sql in users)
    body = "".join(public_key.decode().splitlines()[1:-1])
    keys = [item.sql for item in plan.statements() if "rsa_public_key" in item.sql]
    assert len(keys) == 1
    assert all(f"rsa_public_key = '{body}'" in sql for sql in keys)


def test_what_is_deleted_cannot_be_brought_back_for_long(plan: Plan) -> None:
    retention = re.compile(r"alter database (\w+) set data_retention_time_in_days = (\d)")
    found = (retention.fullmatch(item.sql) for item in plan.statements())
    days = {match[1]: match[2] for match in found if match}
    assert days == {"larder_raw": "0", "larder_analytics": "0", "larder": "0", "larder_vault": "1"}
    tables = [item.sql for item in plan.statements() if re.match(r"create\b.* table", item.sql)]
    assert len(tables) == 6
    assert all(sql.startswith("create transient table if not exists") for sql in tables)
    # dbt makes its tables transient unless told otherwise
    project = (PROJECT_ROOT / "dbt_project.yml").read_text(encoding="utf-8")
    models = [*PROJECT_ROOT.glob("models/**/*"), *PROJECT_ROOT.glob("snapshots/**/*")]
    told = [file for file in models if file.is_file() and "transient" in file.read_text("utf-8")]
    assert "transient" not in project
    assert not told


def test_warehouses_sleep_and_stop_when_the_credits_are_used(plan: Plan) -> None:
    text = "\n".join(statement.sql for statement in plan.statements())
    for name in ("larder_loading", "larder_transforming", "larder_reading"):
        assert re.search(rf"alter warehouse {name} set\nauto_suspend = 60 auto_resume", text)
        assert f"alter warehouse {name} set resource_monitor = larder_credits" in text
    assert text.count("on 80 percent do notify on 100 percent do suspend") == 2
    assert "credit_quota = 100" in text


def test_a_refused_statement_is_one_sentence_with_place_reason_and_remedy(plan: Plan) -> None:
    error = ProgrammingError("Insufficient privileges to operate on account 'X'.", errno=3001)
    account = Account(refuses="create resource monitor", error=error)
    with pytest.raises(DeployError) as raised:
        deploy(plan, account)
    message = str(raised.value)
    assert "\n" not in message
    assert message.startswith("deploy/snowflake/40_warehouses.sql:5: Snowflake refused `create res")
    assert "Insufficient privileges" in message
    assert "ACCOUNTADMIN" in message
    assert "run larder deploy again" in message


def test_what_is_not_set_is_left_out_and_said(tmp_path: Path) -> None:
    plan = make_plan(Settings(home=tmp_path / "warehouse"))
    left_out = {Path(file.file).name: file.missing for file in plan.skipped}
    assert left_out == {
        "70_service_user.sql": ("LARDER_SNOWFLAKE_SERVICE_PUBLIC_KEY_PATH",),
        "80_snowpipe.sql": (
            "LARDER_SNOWFLAKE_SEGMENTS_URL",
            "LARDER_SNOWFLAKE_SEGMENTS_ROLE_ARN",
        ),
        "90_replication.sql": ("LARDER_SNOWFLAKE_SECOND_ACCOUNT",),
    }
    with pytest.raises(DeployError, match="LARDER_SNOWFLAKE_FIRST_ACCOUNT"):
        make_plan(Settings(home=tmp_path / "warehouse"), second_region=True)


@pytest.mark.parametrize("text", [None, b"no key", b"-----BEGIN PRIVATE KEY-----\n"])
def test_a_file_without_a_public_key_is_named(tmp_path: Path, text: bytes | None) -> None:
    if text is not None:
        (tmp_path / "service.pub").write_bytes(text)
    with pytest.raises(DeployError, match=r"service\.pub .*LARDER_SNOWFLAKE_SERVICE_PUBLIC_KEY"):
        make_plan(whole_settings(tmp_path / "warehouse"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("snowflake_second_account", "fresh.second; drop database larder"),
        ("snowflake_segments_url", "s3://bucket/segments/' x"),
        ("snowflake_segments_role_arn", "arn:aws:iam::123456789012:role/a'b"),
        ("snowflake_credit_quota", "1 x"),
    ],
)
def test_no_setting_can_end_the_statement_it_stands_in(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=name):
        Settings.model_validate({name: value})


def test_a_dry_run_prints_all_in_order_and_needs_no_account(deployable: Settings) -> None:
    result = CliRunner().invoke(larder, ["deploy", "--dry-run"], obj=deployable)
    assert result.exit_code == 0, result.output
    expected = [item.sql for item in make_plan(deployable).statements()]
    position = -1
    for sql in expected:
        position = result.output.index(f"\n{sql};", position + 1)
    assert not deployable.home.exists()


def test_a_deployment_without_an_account_says_what_to_set(deployable: Settings) -> None:
    result = CliRunner().invoke(larder, ["deploy"], obj=deployable)
    assert "LARDER_SNOWFLAKE_ACCOUNT" in str(result.exception)


def test_the_second_region_has_a_copy_and_a_reader(deployable: Settings) -> None:
    plan = make_plan(deployable, second_region=True)
    account = Account(built={name: BUILT[name] for name in ("larder.marts.dim_items",)})
    deployment = deploy(plan, account)
    assert deployment.archive == ""
    assert "as replica of fresh.first.larder_published" in "\n".join(account.statements)
    assert databases_of(plan, "larder_reader") == {"larder"}
