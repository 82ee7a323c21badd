"""Generations on Snowflake: one switch for readers, one step back, whatever is refused midway."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlfluff
import sqlglot
from conftest import Account
from copied_builds import clear_published
from sqlglot import exp

from larder import snowflake
from larder.errors import WarehouseError
from larder.serving import snowflake_publish
from larder.serving.generations import generations
from larder.serving.publish import KEPT_GENERATIONS, PublishedTable
from larder.settings import Settings
from larder.snowflake import fetch, open_snowflake

NOW = datetime(2024, 1, 1, 6, 0, tzinfo=UTC)


@pytest.fixture
def settings(account: Account, tmp_path: Path) -> Iterator[Settings]:
    """A home on an account whose build has two marts, and where nothing is published."""
    found: Settings = account.settings(tmp_path / "home", tmp_path / "home.key")
    clear_published(found)
    with open_snowflake(found, "transformer") as connection:
        for statement in (
            "create schema if not exists larder.marts",
            "drop schema if exists larder_analytics.marts",
            "create schema larder_analytics.marts",
            "create table larder_analytics.marts.dim_items (item_id varchar not null)",
            "create table larder_analytics.marts.fct_sales (units number(18, 3))",
        ):
            fetch(connection, statement)
    yield found


def build(settings: Settings, *units: float) -> None:
    """Let the build hold these sales."""
    with open_snowflake(settings, "transformer") as connection:
        fetch(connection, "delete from larder_analytics.marts.fct_sales")
        for one in units:
            fetch(connection, f"insert into larder_analytics.marts.fct_sales values ({one})")


def read(settings: Settings) -> list[float]:
    """Read the sales as a reader does."""
    with open_snowflake(settings, "reader") as connection:
        rows = fetch(connection, "select units from larder.marts.fct_sales order by 1")
    return [float(units) for (units,) in rows]


def publish(settings: Settings, hours: int) -> str:
    return generations(settings).publish(settings, NOW + timedelta(hours=hours)).generation


def test_a_publication_says_what_it_holds(settings: Settings) -> None:
    build(settings, 1, 2)
    as_of = datetime(2023, 12, 31, tzinfo=UTC)
    made = generations(settings).publish(settings, NOW, as_of_at=as_of)
    assert made.generation == "20240101T060000000000Z-0000"
    assert made.tables == (PublishedTable("dim_items", 0), PublishedTable("fct_sales", 2))
    assert (made.published_at, made.as_of_at, made.replaced) == (NOW, as_of, None)
    assert generations(settings).describe_generation(settings, made.generation) == made
    assert read(settings) == [1, 2]


def test_readers_keep_what_was_published_until_the_next(settings: Settings) -> None:
    build(settings, 1)
    publish(settings, 0)
    build(settings, 1, 2)
    assert read(settings) == [1]
    publish(settings, 1)
    assert read(settings) == [1, 2]


def test_the_last_ones_are_kept_and_one_can_go_back(settings: Settings) -> None:
    engine = generations(settings)
    names = []
    for hour in range(KEPT_GENERATIONS + 2):
        build(settings, hour)
        names.append(publish(settings, hour))
    assert engine.list_generations(settings) == names[:1:-1]
    assert engine.published_generation(settings) == names[-1]
    back = engine.rollback(settings)
    assert (back.generation, back.replaced) == (names[-2], names[-1])
    assert read(settings) == [KEPT_GENERATIONS]
    engine.rollback(settings)
    assert read(settings) == [KEPT_GENERATIONS - 1]
    with pytest.raises(WarehouseError, match="nothing to go back to"):
        engine.rollback(settings)
    # what was gone back from leaves with the next publication
    build(settings, 100)
    newest = publish(settings, 10)
    assert engine.list_generations(settings) == [newest, names[-3]]
    assert read(settings) == [100]


def test_a_clock_that_goes_back_does_not_matter(settings: Settings) -> None:
    build(settings, 1)
    first = publish(settings, 5)
    second = publish(settings, 0)
    assert second > first


@pytest.mark.parametrize(
    ("match", "is_switched"),
    [
        ("^create schema larder.incoming", False),
        ("^create transient table larder.incoming", False),
        ("^insert into larder.incoming", False),
        ("^grant", False),
        ("swap with", False),
        ("rename to", True),
        ("^drop schema if exists larder.generation", True),
    ],
)
def test_whatever_is_refused_readers_have_a_whole_generation(
    settings: Settings, account: Account, match: str, is_switched: bool
) -> None:
    # one too many to keep is only there after several
    before = KEPT_GENERATIONS if "drop" in match else 1
    for hour in range(before):
        build(settings, hour)
        publish(settings, hour)
    build(settings, 70)
    with (
        account.fault(match, code=3001, message="Insufficient privileges"),
        pytest.raises(WarehouseError, match="larder deploy"),
    ):
        publish(settings, 7)
    assert read(settings) == ([70] if is_switched else [before - 1])
    build(settings, 80)
    newest = publish(settings, 8)
    assert read(settings) == [80]
    listed = generations(settings).list_generations(settings)
    assert len(listed) == min(KEPT_GENERATIONS, before + 1 + is_switched)
    assert listed[0] == newest
    generations(settings).rollback(settings)
    assert read(settings) == ([70] if is_switched else [before - 1])


@pytest.mark.parametrize(
    ("match", "is_switched"),
    [
        ("^create schema larder.incoming", False),
        ("^insert into larder.incoming", False),
        ("swap with", True),
        ("rename to", True),
    ],
)
def test_a_lost_answer_leaves_each_generation_once(
    settings: Settings,
    account: Account,
    monkeypatch: pytest.MonkeyPatch,
    match: str,
    is_switched: bool,
) -> None:
    monkeypatch.setattr(snowflake, "NETWORK_SECONDS", 2)
    build(settings, 1)
    first = publish(settings, 0)
    build(settings, 70)
    with account.fault(match, after=True), pytest.raises(WarehouseError, match="network"):
        publish(settings, 7)
    assert read(settings) == ([70] if is_switched else [1])
    engine = generations(settings)
    lost = [engine.published_generation(settings)] if is_switched else []
    again = publish(settings, 8)
    assert read(settings) == [70]
    assert engine.list_generations(settings) == [again, *lost, first]
    for units in [70, 1] if is_switched else [1]:
        engine.rollback(settings)
        assert read(settings) == [units]


def test_a_rollback_whose_answer_is_lost_goes_back_once(
    settings: Settings, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snowflake, "NETWORK_SECONDS", 2)
    names = []
    for hour in range(2):
        build(settings, hour)
        names.append(publish(settings, hour))
    with account.fault("swap with", after=True), pytest.raises(WarehouseError, match="network"):
        generations(settings).rollback(settings)
    assert read(settings) == [0]
    assert generations(settings).published_generation(settings) == names[0]
    build(settings, 2)
    assert generations(settings).list_generations(settings)[0] == names[1]
    publish(settings, 2)
    assert read(settings) == [2]


def test_a_rollback_that_is_refused_midway_is_finished_by_the_next_step(
    settings: Settings, account: Account
) -> None:
    names = []
    for hour in range(KEPT_GENERATIONS):
        build(settings, hour)
        names.append(publish(settings, hour))
    with (
        account.fault("rename to", code=3001, message="Insufficient privileges"),
        pytest.raises(WarehouseError),
    ):
        generations(settings).rollback(settings)
    assert read(settings) == [1]
    assert generations(settings).published_generation(settings) == names[1]
    generations(settings).rollback(settings)
    assert read(settings) == [0]


def test_nothing_is_published_of_nothing(settings: Settings) -> None:
    assert generations(settings).published_generation(settings) is None
    assert generations(settings).list_generations(settings) == []
    with pytest.raises(WarehouseError, match="nothing is published yet"):
        generations(settings).rollback(settings)
    with open_snowflake(settings, "transformer") as connection:
        fetch(connection, "drop schema larder_analytics.marts")
        fetch(connection, "create schema larder_analytics.marts")
    with pytest.raises(WarehouseError, match="larder build"):
        publish(settings, 0)


def test_what_the_emulator_cannot_do_is_said_as_snowflake_reads_it(
    settings: Settings, account: Account
) -> None:
    before = len(account.pretended())
    for hour in range(2):
        build(settings, hour)
        publish(settings, hour)
    said = account.pretended()[before:]
    generation = "larder.generation_20240101t060000000000z_0000"
    once = [
        "create schema larder.incoming clone larder_analytics.marts",
        "grant usage on schema larder.incoming to role larder_reader",
        "grant select on all tables in schema larder.incoming to role larder_reader",
        "alter schema larder.marts swap with larder.incoming",
    ]
    assert said == [*once, *once, f"alter schema larder.incoming rename to {generation}"]
    for statement in said:
        sqlfluff.parse(f"{statement};\n", dialect="snowflake")
        assert sqlglot.parse_one(statement, read="snowflake")


def test_what_a_generation_says_of_itself_has_no_fail_safe(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def listen(connection: Any, sql: str, *values: object) -> list[tuple[Any, ...]]:
        if sql.startswith("create"):
            parsed = sqlglot.parse_one(sql, read="snowflake")
            if isinstance(parsed, exp.Create) and parsed.kind == "TABLE":
                made.append(parsed)
        return fetch(connection, sql, *values)

    monkeypatch.setattr(snowflake_publish, "fetch", listen)
    publish(settings, 0)
    assert [one.name for table in made for one in table.find_all(exp.Table)] == [
        "larder_generation"
    ]
    assert all(table.find(exp.TransientProperty) for table in made)


def test_rights_are_given_before_the_switch(settings: Settings, account: Account) -> None:
    before = len(account.pretended())
    publish(settings, 0)
    said = account.pretended()[before:]
    swap = next(number for number, one in enumerate(said) if "swap with" in one)
    grants = [number for number, one in enumerate(said) if one.startswith("grant")]
    assert grants
    assert max(grants) < swap
    assert all(f"to role {snowflake_publish.READERS}" in said[number] for number in grants)
