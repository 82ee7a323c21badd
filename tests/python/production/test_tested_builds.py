"""On Snowflake only a build that has passed its tests is published, as it was when it passed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlfluff
import sqlglot
from click.testing import CliRunner
from conftest import Account
from copied_builds import clear_published

from larder import snowflake
from larder.build_state import forget_tested, mark_tested
from larder.cli import larder
from larder.errors import BuildError
from larder.pipeline import publish_build
from larder.settings import Settings
from larder.snowflake import fetch, open_snowflake

SALES = "larder_analytics.marts.fct_sales"


@pytest.fixture
def settings(account: Account, tmp_path: Path) -> Iterator[Settings]:
    """A home whose build on the account has passed its tests and is published."""
    found: Settings = account.settings(tmp_path / "home", tmp_path / "home.key")
    found.home.mkdir()
    clear_published(found)
    change(found, "create schema if not exists larder.marts")
    change(found, "create schema if not exists larder_analytics.marts")
    build(found, 1)
    publish_build(found, now)
    yield found


def now() -> datetime:
    return datetime.now(UTC)


def change(settings: Settings, statement: str) -> None:
    """Do something on the account that is no build of this home."""
    with open_snowflake(settings, "transformer") as connection:
        fetch(connection, statement)


def build(settings: Settings, units: int) -> None:
    """Do what a build does that passes its tests."""
    forget_tested(settings)
    change(settings, f"create or replace transient table {SALES} as (select {units} as units)")
    mark_tested(settings, f"made from {units}")


def read(settings: Settings) -> list[int]:
    """Read the sales as a reader does."""
    with open_snowflake(settings, "reader") as connection:
        rows = fetch(connection, "select units from larder.marts.fct_sales order by 1")
    return [int(units) for (units,) in rows]


@pytest.mark.parametrize(
    "statement",
    [
        f"create or replace transient table {SALES} as (select 1 as units)",
        f"update {SALES} set units = 7",
        f"delete from {SALES}",
        f"insert into {SALES} values (7)",
        "create table larder_analytics.marts.half_done (one varchar)",
        f"drop table {SALES}",
    ],
)
def test_whoever_has_written_into_the_marts_a_new_build_comes_first(
    settings: Settings, statement: str
) -> None:
    """Such as a plain `dbt build` that failed, another home's build, somebody by hand."""
    change(settings, statement)
    refused = CliRunner().invoke(larder, ["publish"], obj=settings)
    assert isinstance(refused.exception, BuildError)
    assert "larder_analytics has not passed its tests as it is now" in str(refused.exception)
    assert "\n" not in str(refused.exception)
    assert read(settings) == [1]

    build(settings, 2)
    publish_build(settings, now)
    assert read(settings) == [2]
    change(settings, "drop table if exists larder_analytics.marts.half_done")


def test_reading_publishing_and_other_schemas_change_no_build(settings: Settings) -> None:
    change(settings, f"select * from {SALES}")
    change(settings, "create schema if not exists larder_analytics.staging")
    change(settings, "create or replace table larder_analytics.staging.noted (one varchar)")
    publish_build(settings, now)
    publish_build(settings, now)
    change(settings, "drop table larder_analytics.staging.noted")
    assert read(settings) == [1]


def test_a_build_that_is_under_way_is_not_published(settings: Settings) -> None:
    forget_tested(settings)
    with pytest.raises(BuildError, match="has not passed its tests"):
        publish_build(settings, now)


def test_snowflake_reads_what_it_is_asked(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def answer(_: object, question: str) -> list[tuple[int, datetime]]:
        asked.append(question)
        return [(1, now())]

    monkeypatch.setattr(snowflake, "fetch", answer)
    mark_tested(settings, "one")
    (question,) = asked
    sqlfluff.parse(f"{question};\n", dialect="snowflake")
    assert sqlglot.parse_one(question, read="snowflake")
    assert "max(last_altered) from larder_analytics.information_schema.tables" in question
