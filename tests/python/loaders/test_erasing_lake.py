from __future__ import annotations

from contextlib import nullcontext
from datetime import timedelta
from uuid import uuid4

import duckdb
import pytest
from buckets import make_bucket, s3_endpoint
from erased_people import GONE, die_at
from landing_zone import NOW, Home, now

from larder.erasure import erase_everywhere
from larder.serving.lake import bring_up_to_date, fetched_files, open_table
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
