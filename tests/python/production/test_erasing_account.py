"""A person leaves Snowflake: every table, generation, stage and the vault's copy; others stay."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlfluff
import sqlglot
from click.testing import CliRunner
from conftest import Account
from erased_people import (
    EMAIL,
    GONE,
    NAME,
    PHONE,
    STAYS,
    customer,
    die_at,
    write_everything,
)
from landing_zone import NOW, Home, line, now
from snowflake.connector.cursor import SnowflakeCursor
from warehouse_homes import run_larder, skip_unit_tests

from larder import snowflake
from larder.build_state import mark_tested
from larder.cli import larder as command_line
from larder.erasure import erase_everywhere
from larder.errors import BuildError, WarehouseError
from larder.keys import read_key
from larder.pipeline import publish_build
from larder.serving.generations import generations
from larder.serving.publish import PublishedTable
from larder.settings import Settings
from larder.snowflake import ANALYTICS, LANDING, PEOPLE, PUBLISHED, Role, fetch, open_snowflake
from loaders.sample.network import SampleOptions, write_sample_network
from loaders.upload import upload
from loaders.vault import open_vault

OTHER = "f" * 32
Rows = dict[str, list[str]]


@pytest.fixture
def home(account: Account, tmp_path: Path) -> Home:
    """A home whose person is in every file, uploaded; nothing is built."""
    settings: Settings = account.settings(tmp_path / "home", tmp_path / "key")
    settings = settings.model_copy(update={"memory_limit": "1GB", "lock_wait_seconds": 5})
    account.forget_records(settings)
    settings.landing_folder.mkdir(parents=True)
    found = Home(settings)
    write_everything(found)
    found.load()
    upload(settings, now)
    return found


@pytest.fixture
def token(home: Home) -> str:
    """The token of the person, who is in the build and in two generations."""
    with open_vault(home.settings) as vault:
        (token,) = vault.known_tokens(GONE, ["commerce"])
    build(home.settings, token)
    for hour in range(2):
        generations(home.settings).publish(home.settings, NOW + timedelta(hours=hour))
    return token


def build(settings: Settings, token: str) -> None:
    """Make a build with the token and another one, and no generation of before."""
    with open_snowflake(settings, "transformer") as connection:
        for (schema,) in fetch(
            connection, f"select schema_name from {PUBLISHED}.information_schema.schemata"
        ):
            if re.match("marts|generation_|incoming", schema, re.IGNORECASE):
                fetch(connection, f"drop schema {PUBLISHED}.{schema} cascade")
        for schema, tables in {
            "marts": {
                "dim_customers": "customer_key varchar not null, age_group varchar",
                "fct_sales": "sale_key number(38, 0), customer_key varchar",
                "dim_items": "item_id varchar",
            },
            "anonymised": {
                "anon_fridge__stock_events": "event_id varchar, commerce_token varchar, "
                "content_hash varchar not null",
            },
        }.items():
            fetch(connection, f"drop schema if exists {ANALYTICS}.{schema} cascade")
            fetch(connection, f"create schema {ANALYTICS}.{schema}")
            for table, columns in tables.items():
                fetch(connection, f"create table {ANALYTICS}.{schema}.{table} ({columns})")
        for key in (token, OTHER):
            for values in (
                f"marts.dim_customers values ('{key}', '30-39')",
                f"marts.fct_sales values (1, '{key}')",
                f"anonymised.anon_fridge__stock_events values ('e1', '{key}', 'hash {key}')",
            ):
                fetch(connection, f"insert into {ANALYTICS}.{values}")
        fetch(connection, f"insert into {ANALYTICS}.marts.dim_items values ('C-0000171')")


DATABASES: tuple[tuple[Role, str], ...] = (
    ("loader", "larder_raw"),
    ("loader", "larder_vault"),
    ("transformer", "larder_analytics"),
    ("transformer", "larder"),
)


def everything(settings: Settings) -> Rows:
    """Return every row of every table, as text."""
    found: Rows = {}
    for role, database in DATABASES:
        with open_snowflake(settings, role) as connection:
            tables = fetch(
                connection,
                f"select lower(table_schema), lower(table_name) "
                f"from {database}.information_schema.tables where table_type = 'BASE TABLE'",
            )
            for schema, table in tables:
                rows = fetch(connection, f"select * from {database}.{schema}.{table}")
                found[f"{database}.{schema}.{table}"] = sorted(map(str, rows))
    return found


def staged(settings: Settings) -> list[tuple[Any, ...]]:
    with open_snowflake(settings, "loader") as connection:
        return [
            file
            for stage in (f"{LANDING}.segments", f"{PEOPLE}.arriving")
            for file in fetch(connection, f"list @{stage}")
        ]


def hashed(settings: Settings, person: str) -> str:
    return hmac.new(read_key(settings.key_file), person.encode(), hashlib.sha256).hexdigest()


def require_gone(settings: Settings, token: str) -> Rows:
    """Check that nobody finds the person anywhere; return what is left."""
    left = everything(settings)
    tombstones = left.pop(f"{PEOPLE}.tombstones")
    traces = [GONE, EMAIL, NAME, PHONE, "patient-0017", token, hashed(settings, GONE)]
    for table, rows in left.items():
        for trace in traces:
            # an id of somebody else may begin with it
            found = [row for row in rows if re.search(rf"{re.escape(trace)}(?![\w-])", row)]
            assert not found, f"{trace} in {table}: {found}"
    assert staged(settings) == []
    assert len(tombstones) == 2  # as customer and as patient
    assert any(hashed(settings, GONE) in row for row in tombstones)
    return left


def without_person(before: Rows, token: str) -> Rows:
    """Return the rows that the person is in no way part of."""
    marks = (GONE + "'", GONE + '"', GONE + "\\", token, EMAIL, "patient-0017", "None")
    return {
        table: [row for row in rows if not any(mark in row for mark in marks)]
        for table, rows in before.items()
    }


def test_a_person_leaves_everything_and_nobody_else(home: Home, token: str) -> None:
    settings = home.settings
    before = everything(settings)
    report = erase_everywhere(settings, GONE, now)
    assert (report.traces, report.unsearchable) == ([], [])
    left = require_gone(settings, token)
    # the sale and the event stay, three times and once, without the person
    counts = {
        "larder_analytics.marts.fct_sales": 2,
        "larder_analytics.marts.dim_customers": 1,
        "larder_analytics.anonymised.anon_fridge__stock_events": 2,
        "larder.marts.fct_sales": 2,
        "larder.marts.dim_customers": 1,
    }
    assert {table: len(left[table]) for table in counts} == counts
    assert left["larder.marts.fct_sales"] == [f"(1, '{OTHER}')", "(1, None)"]
    for table in counts:
        assert set(without_person(before, token)[table]) <= set(left[table]), table
    people = f"{PEOPLE}.tokens"
    assert len(left[people]) == len(before[people]) - 2
    assert set(left[people]) <= set(before[people])
    payloads = "".join(left[f"{LANDING}.records"])
    assert all(one in payloads for one in (STAYS, "C-3", "patient-0018", "ob2"))
    # the rows of raw are those of the segments
    assert len(left[f"{LANDING}.records"]) == len(home.query("select 1 from records"))
    assert settings.refresh_file.exists()
    assert report.searched_files > len(left)


def test_generations_say_how_many_rows_are_left(home: Home, token: str) -> None:
    engine = generations(home.settings)
    erase_everywhere(home.settings, GONE, now)
    assert len(engine.list_generations(home.settings)) == 2
    for name in engine.list_generations(home.settings):
        assert engine.describe_generation(home.settings, name).tables == (
            PublishedTable("dim_customers", 1),
            PublishedTable("dim_items", 1),
            PublishedTable("fct_sales", 2),
        )
    engine.rollback(home.settings)
    require_gone(home.settings, token)


def test_no_statement_holds_anything_of_the_person(
    home: Home, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    values: list[str] = []
    execute = SnowflakeCursor.execute

    def recorded(self: SnowflakeCursor, command: str, *arguments: Any, **options: Any) -> Any:
        said.append(command)
        values.append(str(arguments))
        return execute(self, command, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(SnowflakeCursor, "execute", recorded)
        erase_everywhere(home.settings, GONE, now)
    assert any("delete from larder_raw" in one for one in said)
    for trace in (GONE, EMAIL, NAME, PHONE, "patient-0017", token, hashed(home.settings, GONE)):
        assert not [one for one in (*said, *values) if trace in one]
    new = "create temporary|delete|update|insert|select held"
    for one in (one for one in said if re.match(new, one)):
        statement = one.replace("%s", "'x'")
        assert sqlglot.parse_one(statement, read="snowflake")
        sqlfluff.parse(f"{statement};\n", dialect="snowflake")


STEPS = {
    "upload": r"^copy into larder_raw\.landing\.records",
    "stage": r"^remove @larder_raw\.landing\.segments$",
    "words": r"^create temporary table larder_vault",
    "raw": r"^delete from larder_raw\.landing\.records where commerce_token",
    "look for mentions": r"^select held\.\* from larder_raw\.landing\.records",
    "own stage": r"^create temporary stage",
    "build": r"^delete from larder_analytics\.\S*marts",
    "event": r"^update larder_analytics\.\S*marts",
    "served": r"^delete from larder\.\S*marts",
    "older": r"^update larder\.\S*generation_\S+fct_sales",
    "counts": r"^update larder\.\S+larder_generation",
    "proof": r"^select held\.\* from larder\.",
    "vault": r"^delete from larder_vault\.people\.tokens",
    "vault's proof": r"^select held\.\* from larder_vault",
}


@pytest.mark.parametrize("step", STEPS)
def test_a_refused_step_is_made_good_by_the_next_erasure(
    home: Home, token: str, account: Account, step: str
) -> None:
    with (
        account.fault(STEPS[step], code=3001, message="Insufficient privileges"),
        pytest.raises(WarehouseError, match="larder deploy"),
    ):
        erase_everywhere(home.settings, GONE, now)
    report = erase_everywhere(home.settings, GONE, now)
    assert (report.traces, report.unsearchable) == ([], [])
    assert len(require_gone(home.settings, token)["larder.marts.fct_sales"]) == 2
    assert home.settings.refresh_file.exists()
    engine = generations(home.settings)
    for name in engine.list_generations(home.settings):
        tables = engine.describe_generation(home.settings, name).tables
        assert PublishedTable("dim_customers", 1) in tables
    upload(home.settings, now)
    require_gone(home.settings, token)


def test_a_lost_network_is_one_line_and_the_next_erasure_goes_on(
    home: Home, token: str, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snowflake, "NETWORK_SECONDS", 2)
    with account.fault("^delete from larder"), pytest.raises(WarehouseError, match="network"):
        erase_everywhere(home.settings, GONE, now)
    assert erase_everywhere(home.settings, GONE, now).is_proven
    require_gone(home.settings, token)


@pytest.mark.parametrize(
    "place",
    [
        "loaders.erasing.account.upload",
        "loaders.erasing.account._erase_from_tables",
        "loaders.erasing.steps.prove",
        "loaders.erasing.account.exchange_tokens",
    ],
)
def test_an_erasure_that_was_killed_goes_on(
    home: Home, token: str, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        die_at(patch, (place,), 1)
        erase_everywhere(home.settings, GONE, now)
    assert erase_everywhere(home.settings, GONE, now).is_proven
    require_gone(home.settings, token)


def test_what_could_not_be_removed_is_found(
    home: Home, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loaders.erasing.account._erase_from_tables", lambda *_: None)
    report = erase_everywhere(home.settings, GONE, now)
    assert len(report.traces) == 7
    assert {"larder.marts.fct_sales", "larder_analytics.marts.dim_customers"} <= {*report.traces}
    assert token not in "".join(report.traces)


def test_a_token_that_stays_in_the_copy_of_the_vault_is_found(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("loaders.erasing.account.exchange_tokens", lambda *_: None)
        assert erase_everywhere(home.settings, GONE, now).traces == [f"{PEOPLE}.tokens"]
    assert erase_everywhere(home.settings, GONE, now).is_proven


def test_a_text_anywhere_is_a_trace(home: Home, token: str) -> None:
    with open_snowflake(home.settings, "transformer") as connection:
        fetch(connection, f"create table {ANALYTICS}.marts.notes (note varchar)")
        for note in (f"called {GONE}.", f"({EMAIL})", f"key={token}", "C-0000171 is another"):
            fetch(connection, f"insert into {ANALYTICS}.marts.notes values ('{note}')")
    report = erase_everywhere(home.settings, GONE, now)
    assert report.traces == ["larder_analytics.marts.notes"]
    with open_snowflake(home.settings, "transformer") as connection:
        fetch(connection, f"delete from {ANALYTICS}.marts.notes where note not like '%another'")
    # only now is it proven, though the vault knows the person no more
    assert erase_everywhere(home.settings, GONE, now).is_proven


@pytest.fixture
def second(account: Account, tmp_path: Path) -> Home:
    """Another home of the account, where only the customer's own record has landed."""
    found = Home(account.settings(tmp_path / "second", tmp_path / "key"))
    theirs = customer(GONE, full_name=NAME, email=EMAIL, phone=PHONE)
    found.land("accounts/customers/new.ndjson", line(theirs) + line(customer("C-000099")))
    patient = {"resourceType": "Patient", "meta": {"lastUpdated": "2024-01-01T00:00:00Z"}}
    identifier = [{"system": "urn:larder:customer", "value": GONE}]
    found.land(
        "clinic/patients/new.ndjson",
        line(patient | {"id": "patient-0017", "identifier": identifier}),
    )
    return found


def test_what_a_lost_home_has_uploaded_goes_too(home: Home, token: str, second: Home) -> None:
    """Its records, also those that were rejected and have no token; not those of others."""
    before = everything(home.settings)[f"{LANDING}.records"]
    assert erase_everywhere(second.settings, GONE, now).is_proven
    left = require_gone(second.settings, token)[f"{LANDING}.records"]
    marks = (f'"{GONE}"', f"'{GONE}'", token, EMAIL, "patient-0017")
    others = [row for row in before if not any(mark in row for mark in marks)]
    assert len([row for row in others if STAYS in row]) == 4
    assert set(others) <= set(left)
    assert [row for row in left if "C-000099" in row]
    # none of theirs in another form
    assert len(left) == len(others) + 1


def test_a_person_whom_another_home_has_met_is_erased_in_both(
    home: Home, token: str, second: Home
) -> None:
    report = erase_everywhere(second.settings, GONE, now)
    assert report.was_known
    assert report.is_proven
    # the other one still has their files, and is asked to do the same before it uploads
    home.land("accounts/customers/later.ndjson", line(customer(STAYS)))
    home.load()
    with pytest.raises(WarehouseError, match="larder erase"):
        upload(home.settings, now)
    require_gone(home.settings, token)
    assert erase_everywhere(home.settings, GONE, now).is_proven
    left = require_gone(home.settings, token)[f"{LANDING}.records"]
    # with it the event comes back, without them
    assert [row for row in left if "'e1'" in row]
    with open_vault(home.settings) as vault:
        assert vault.tokens("commerce", [GONE]) == [None]


def test_a_file_of_another_upload_on_the_stage_is_no_proof(
    home: Home, token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "records.parquet"
    file.write_text(token)

    def put() -> Iterator[None]:
        with open_snowflake(home.settings, "loader") as connection:
            fetch(connection, f"put 'file://{file}' @{LANDING}.segments/other/1")
        yield

    for _ in put():  # one that was killed
        assert len(staged(home.settings)) == 1
    assert erase_everywhere(home.settings, GONE, now).unsearchable == []
    assert staged(home.settings) == []

    original = snowflake.fetch

    def put_before(connection: Any, sql: str, *values: object) -> list[Any]:
        if sql.startswith("list"):
            list(put())
        return original(connection, sql, *values)

    monkeypatch.setattr("loaders.erasing.account.fetch", put_before)
    report = erase_everywhere(home.settings, GONE, now)
    assert report.unsearchable == ["@larder_raw.landing.segments/other/1/records.parquet.gz"]


@pytest.mark.usefixtures("token")
def test_what_an_erasure_has_changed_is_not_published(home: Home) -> None:
    mark_tested(home.settings, "one")
    publish_build(home.settings, now)
    assert erase_everywhere(home.settings, GONE, now).is_proven
    with pytest.raises(BuildError, match="has not passed its tests"):
        publish_build(home.settings, now)


def test_the_command_says_what_it_did(home: Home, token: str) -> None:
    done = CliRunner().invoke(command_line, ["erase", GONE], obj=home.settings)
    assert done.exit_code == 0, done.output
    assert "files and tables: no trace is left" in " ".join(done.output.split())
    require_gone(home.settings, token)


def test_a_customer_leaves_a_real_build(new_account: Account, tmp_path: Path) -> None:
    """What dbt makes of the sample network, published; the next run makes all of it anew."""
    settings = new_account.settings(tmp_path / "home", tmp_path / "key")
    (settings.home / "docs").mkdir(parents=True)
    (settings.home / "docs" / "index.html").touch()
    skip_unit_tests(settings)
    options = SampleOptions(days=7, locations=5)
    write_sample_network(settings.landing_folder, settings.truth_folder, options)

    def larder(*arguments: str) -> None:
        ran = run_larder(
            settings.home,
            *arguments,
            LARDER_KEY_FILE=str(settings.key_file),
            **new_account.variables,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr

    larder("run")
    orders = Home(settings).query(
        "select payload->>'customer_id', commerce_token from records "
        "where commerce_token is not null group by all order by count(*) desc limit 1",
        "fridge/stock_events",
    )
    ((person, token),) = orders
    before = everything(settings)
    assert len([table for table, rows in before.items() if token in str(rows)]) > 10
    larder("erase", person)
    traces = re.compile(rf"{token}|(?<![\w-]){person}(?![\w-])")
    left = everything(settings)
    assert not [table for table, rows in left.items() if traces.search(str(rows))]
    changed = {table for table, rows in before.items() if rows != left[table]}
    held = {table for table, rows in before.items() if traces.search(str(rows))}
    # besides: hashes, who is erased, how many rows there are and which segments were sent again
    assert {table.rpartition(".")[2] for table in changed - held} <= {
        "tombstones",
        "tokens",
        "manifest",
        "larder_generation",
        "fingerprint",
    }
    for table in held - {f"{LANDING}.records"}:
        others = [row for row in before[table] if not traces.search(row)]
        assert set(others) <= set(left[table]), table
    larder("run")
    left = everything(settings)
    assert not [table for table, rows in left.items() if traces.search(str(rows))]
    assert not settings.refresh_file.exists()
