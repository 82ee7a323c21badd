from __future__ import annotations

from datetime import timedelta
from typing import Any

import duckdb
import pytest
from erased_people import GONE, STAYS, die_at, order
from landing_zone import NOW, Home, event, line, now

from larder.build import build, target_folder
from larder.errors import BuildError
from larder.serving.publish import (
    PublishedTable,
    describe_generation,
    list_generations,
    publish,
)
from larder.settings import Settings
from loaders.erasing import erase

HASHES = "select natural_key as event_id, commerce_token as customer_key, content_hash from records"


def build_records(home: Home) -> None:
    """Build a table with the hashes of all good records, each once."""
    rows = home.query(f"{HASHES} where rejection_reason is null group by all")
    with duckdb.connect(str(home.settings.build_database)) as connection:
        connection.execute("create schema anonymised")
        connection.execute(
            "create table anonymised.records "
            "(event_id varchar, customer_key varchar, content_hash varchar not null)"
        )
        connection.executemany("insert into anonymised.records values ($1, $2, $3)", rows)


def built_records(home: Home) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(home.settings.build_database)) as connection:
        return connection.execute("from anonymised.records order by all").fetchall()


def test_databases_have_the_hashes_of_what_is_left(home: Home) -> None:
    home.land(
        "fridge/stock_events/a.ndjson",
        line(event(1, customer_id=GONE)) + line(event(2, customer_id=STAYS)) + line(event(3)),
    )
    home.load()
    build_records(home)

    erase(home.settings, GONE, now)

    left = built_records(home)
    assert left == home.query(f"{HASHES} order by all")
    assert left[0][:2] == ("e1", None)


COPIES = {
    "alone": ([event(1, customer_id=GONE), event(2)], False),
    "delivered twice": ([event(1, customer_id=GONE)] * 2, False),
    "contested": ([event(1, customer_id=GONE), event(1, quantity=2)], True),
    "the same without the person": ([event(1, customer_id=GONE), event(1)], True),
    "by others": ([event(1, customer_id=GONE), event(2), event(2, quantity=2)], False),
    "versions": ([order(1, GONE), order(1, GONE) | {"updated_at": "2024-05-02"}], False),
    "contested version": ([order(1, GONE), order(1, GONE) | {"quantity": 2}], True),
}


@pytest.mark.parametrize(("copies", "is_asked"), COPIES.values(), ids=COPIES)
def test_a_contested_record_asks_the_next_build_for_a_full_refresh(
    home: Home, copies: list[dict[str, Any]], is_asked: bool
) -> None:
    entity = "fridge/stock_events" if "event_id" in copies[0] else "orders/order_lines"
    home.land(f"{entity}/a.ndjson", b"".join(map(line, copies)))
    home.load()
    build_records(home)
    before = {content_hash for key, person, content_hash in built_records(home) if person}

    erase(home.settings, GONE, now)

    assert home.settings.refresh_file.exists() == is_asked
    assert before.isdisjoint(content_hash for *_, content_hash in built_records(home))


def test_an_erasure_that_has_forgotten_hashes_asks_for_a_full_refresh(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.land("fridge/stock_events/a.ndjson", line(event(1, customer_id=GONE)))
    home.load()
    build_records(home)
    with monkeypatch.context() as patch:
        die_at(patch, ("loaders.erasing.steps.erase_from_database",), 1)
        with pytest.raises(KeyboardInterrupt):
            erase(home.settings, GONE, now)
    assert not home.settings.refresh_file.exists()

    erase(home.settings, GONE, now)

    assert home.settings.refresh_file.exists()


def test_builds_refresh_everything_until_one_succeeds(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def run(settings: Settings, arguments: list[str], *_: object, **_more: str) -> None:
        asked.append(arguments)
        if len(asked) == 1:
            raise BuildError("only asked")
        target = target_folder(settings, "build")
        target.mkdir(parents=True, exist_ok=True)
        settings.build_database.touch()
        (target / "run_results.json").write_text('{"results": [], "elapsed_time": 0}')

    monkeypatch.setattr("larder.build.run_dbt", run)
    home.settings.refresh_file.touch()
    with pytest.raises(BuildError):
        build(home.settings)
    build(home.settings)
    build(home.settings)

    # unit tests, which hold for the version, are left out once they have passed
    again = ["build", "--exclude-resource-type", "unit_test"]
    assert asked == [["build", "--full-refresh"]] * 2 + [again]


@pytest.mark.usefixtures("token")
def test_a_generation_says_how_many_rows_are_left(home: Home) -> None:
    for hour in range(2):
        publish(home.settings, NOW + timedelta(hours=hour))
    report = erase(home.settings, GONE, now)
    assert report.is_proven
    for name in [one for one in list_generations(home.settings) if one != "one"]:
        described = describe_generation(home.settings, name)
        assert described.tables == (
            PublishedTable("dim_customers", 1),
            PublishedTable("fct_sales", 2),
        )


def test_databases_lose_the_person_but_not_the_sales(home: Home, token: str) -> None:
    report = erase(home.settings, GONE, now)

    assert (report.tables, report.table_rows) == (4, 4)
    for file in (
        home.settings.build_database,
        home.settings.generations_folder / "one" / "larder.duckdb",
    ):
        assert token.encode() not in file.read_bytes()
        with duckdb.connect(str(file), read_only=True) as connection:
            sales = connection.execute("from marts.fct_sales order by all").fetchall()
            people = connection.execute("from marts.dim_customers").fetchall()
            comments = connection.execute("select comment from duckdb_tables()").fetchall()
        assert sales == [(1, "f" * 32), (1, None)]
        assert people == [("f" * 32, "30-39")]
        assert ("one row per sale",) in comments
