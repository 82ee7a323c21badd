from __future__ import annotations

import re
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import duckdb
import pyarrow.parquet as pq
import pytest
from buckets import make_bucket, s3_endpoint
from erased_people import GONE, die_at
from landing_zone import NOW, Home, now

from larder.erasure import erase_everywhere
from larder.serving.lake import bring_up_to_date, fetched_files, open_table, rewrite_without
from larder.serving.publish import publish, rollback
from larder.settings import Settings


def publish_to_lake(settings: Settings) -> None:
    """Publish the build three times; the first generation does not hold the person."""
    with duckdb.connect(str(settings.build_database)) as connection:
        connection.execute("create table kept as from marts.dim_customers")
        connection.execute("delete from marts.dim_customers where customer_key <> repeat('f', 32)")
        connection.execute("create table sales as from marts.fct_sales")
        connection.execute("delete from marts.fct_sales where customer_key <> repeat('f', 32)")
    publish(settings, NOW)
    bring_up_to_date(settings)
    with duckdb.connect(str(settings.build_database)) as connection:
        connection.execute("delete from marts.dim_customers; delete from marts.fct_sales")
        connection.execute("insert into marts.dim_customers from kept; drop table kept")
        connection.execute("insert into marts.fct_sales from sales; drop table sales")
    for hour in (1, 2):
        publish(settings, NOW + timedelta(hours=hour))
        bring_up_to_date(settings)


def names_and_content(settings: Settings) -> dict[str, bytes]:
    with fetched_files(settings) as files:
        return {name: file.read_bytes() for name, file in files}


@pytest.mark.parametrize(
    ("place", "is_killed"), [("folder", False), ("folder", True), ("bucket", False)]
)
def test_a_person_leaves_the_lake(
    home: Home, token: str, place: str, is_killed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_endpoint() if place == "bucket" else nullcontext():
        url = str(home.settings.home.with_name("lake"))
        if place == "bucket":
            url = f"s3://lake-{uuid4().hex}/lake"
            client = make_bucket(url.split("/")[2], keeps_versions=True)
        settings = home.settings.model_copy(update={"lake": url})
        publish_to_lake(settings)
        # two files, which both later generations name
        assert sum(token.encode() in one for one in names_and_content(settings).values()) == 2
        people = open_table(url, "dim_customers").to_table()["customer_key"].to_pylist()
        assert sorted(people) == sorted([token, "f" * 32])
        if is_killed:
            with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
                die_at(patch, ("larder.serving.lake._switch",), 1)
                erase_everywhere(settings, GONE, now)

        report = erase_everywhere(settings, GONE, now)

        assert (report.traces, report.unsearchable) == ([], [])
        assert len(report.copies) == 2
        left = names_and_content(settings)
        assert not any(token.encode() in one for one in left.values())
        assert report.searched_files > len(left) > 5
        assert open_table(url, "dim_customers").to_table().to_pylist() == [
            {"customer_key": "f" * 32, "age_group": "30-39"}
        ]
        assert open_table(url, "fct_sales").to_table()["customer_key"].to_pylist().count(None) == 1
        if place == "bucket":
            for one in client.list_object_versions(Bucket=url.split("/")[2])["Versions"]:
                found = client.get_object(
                    Bucket=url.split("/")[2], Key=one["Key"], VersionId=one["VersionId"]
                )
                assert token.encode() not in found["Body"].read()
        # what was removed comes back without the person
        rollback(settings)
        bring_up_to_date(settings)
        assert not any(token.encode() in one for one in names_and_content(settings).values())
        assert open_table(url, "dim_customers").count_rows() == 1


def test_an_erasure_finds_what_it_could_not_remove_from_the_lake(
    home: Home, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = home.settings.model_copy(update={"lake": str(home.settings.home.with_name("lake"))})
    publish_to_lake(settings)
    monkeypatch.setattr("larder.erasure.rewrite_without", lambda *_: [])
    report = erase_everywhere(settings, GONE, now)
    assert len(report.traces) == 2
    assert token not in "".join(report.traces)


@dataclass
class Catalog:
    """Keep tables as Athena's does: `if not exists` leaves what is there as it is."""

    tables: dict[str, str] = field(default_factory=dict)
    partitions: dict[str, dict[str, str]] = field(default_factory=dict)
    views: dict[str, str] = field(default_factory=dict)

    def run(self, ddl: str) -> None:
        for statement in ddl.removesuffix(";\n\n").split(";\n\n"):
            name = re.search(r"larder_lake\.[`\"](\w+)", statement)
            if statement.startswith("create external table"):
                assert name
                (place,) = re.findall(r"\nlocation '(.+)'", statement)
                self.tables.setdefault(name[1], place)
                if "\npartitioned by" in statement:
                    self.partitions.setdefault(name[1], {})
            elif statement.startswith("alter table"):
                assert name
                for value, place in re.findall(r"= '(.+)'\) location '(.+)'", statement):
                    self.partitions[name[1]].setdefault(value, place)
            elif statement.startswith("create or replace view"):
                view, target = re.findall(r'larder_lake\."(\w+)"', statement)
                self.views[view] = target

    def rows(self, view: str) -> int:
        """Count the rows that a query of a view finds; every place of it must hold files."""
        table = self.views[view]
        found = 0
        for place in self.partitions.get(table, {"": self.tables[table]}).values():
            files = list(Path(place.removeprefix("file://")).glob("*.parquet"))
            assert files, f"nothing lies in {place}"
            found += sum(pq.read_metadata(file).num_rows for file in files)
        return found


def read_with_athena(catalog: Catalog, url: str) -> dict[str, int]:
    """Run the DDL of a lake, and count what its readers find in each table."""
    catalog.run((Path(url) / "athena.sql").read_text(encoding="utf-8"))
    return {name: catalog.rows(name) for name in ("dim_customers", "fct_sales", "fct_visits")}


def test_athena_finds_every_row_after_any_erasure(home: Home, token: str) -> None:
    """… also when files lie again below a name that was free once, and after going back."""
    settings = home.settings.model_copy(update={"lake": str(home.settings.home.with_name("lake"))})
    url = str(settings.lake)
    with duckdb.connect(str(settings.build_database)) as connection:
        connection.execute(
            "create table marts.fct_visits as select 1 as sale_key, * from (values "
            f"('{token}', timestamp '2019-04-02'), (repeat('f', 32), timestamp '2019-05-02'), "
            "(repeat('e', 32), timestamp '2019-06-02')) as visits (customer_key, visited_at)"
        )
    publish_to_lake(settings)
    catalog = Catalog()
    assert read_with_athena(catalog, url) == {"dim_customers": 2, "fct_sales": 2, "fct_visits": 3}
    before = set(catalog.views.values())

    erase_everywhere(settings, GONE, now)

    after = read_with_athena(catalog, url)
    assert after == {"dim_customers": 1, "fct_sales": 2, "fct_visits": 3}
    assert before.isdisjoint(catalog.views.values())
    # these are in the warehouse still: what matters here is where the files lie then
    for other in ("f" * 32, "e" * 32, "f" * 32):
        assert rewrite_without(settings, [other])
        assert read_with_athena(catalog, url) == after
    rollback(settings)
    bring_up_to_date(settings)
    assert read_with_athena(catalog, url) == after


@pytest.mark.parametrize("step", ["_switch", "_tell_athena"])
def test_athena_is_told_though_an_erasure_was_killed(
    home: Home, token: str, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """… and, done again, finds that readers have a generation without the person already."""
    settings = home.settings.model_copy(update={"lake": str(home.settings.home.with_name("lake"))})
    with duckdb.connect(str(settings.build_database)) as connection:
        connection.execute(
            "create table marts.fct_visits as "
            f"select 1 as sale_key, '{token}' as customer_key, timestamp '2019-04-02' as visited_at"
        )
    publish_to_lake(settings)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        die_at(patch, (f"larder.serving.lake.{step}",), 1)
        erase_everywhere(settings, GONE, now)

    erase_everywhere(settings, GONE, now)

    assert read_with_athena(Catalog(), str(settings.lake))["fct_visits"] == 1
