"""Facts of events lie in the lake by process hour, and only what has changed is written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
import yaml
from buckets import make_bucket, s3_endpoint
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from serving_processes import NOW, settings_for

from larder.serving.declared import declared_partitions
from larder.serving.lake import bring_up_to_date, open_table, rewrite_without
from larder.serving.places import Folder, open_place
from larder.serving.publish import publish, rollback
from larder.settings import PROJECT_ROOT, Settings

FIRST_HOUR = datetime(2026, 11, 23, 10)  # noqa: DTZ001 - of the kind that DuckDB returns
EVENTS = "fct_trip_events"
# what a build has: of each hour its events, each with what was found out about it
Hours = dict[int, dict[str, str]]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made: Settings = settings_for(tmp_path / "home", lake=str(tmp_path / "lake"))
    return made


def publish_hours(settings: Settings, hours: Hours, minute: int) -> str:
    """Build and publish events by their process hour, beside a fact that knows none."""
    settings.home.mkdir(parents=True, exist_ok=True)
    settings.build_database.unlink(missing_ok=True)
    with duckdb.connect(str(settings.build_database)) as connection:
        connection.execute(
            "create schema marts; create table marts.fct_trip_events (event_id varchar, "
            "driver_key varchar, position_flag varchar, occurred_at timestamp, "
            "processed_at timestamp, process_hour timestamp)"
        )
        for hour, events in hours.items():
            began = FIRST_HOUR + timedelta(hours=hour)
            for event, flag in events.items():
                connection.execute(
                    "insert into marts.fct_trip_events values (?, ?, ?, ?, ?, ?)",
                    [event, f"driver-{event}", flag, began, began + timedelta(minutes=9), began],
                )
        connection.execute(
            "create table marts.fct_trips as select event_id as trip_id, occurred_at as "
            "started_at, process_hour from marts.fct_trip_events"
        )
    return publish(settings, NOW + timedelta(minutes=minute)).generation


def rows_in_lake(settings: Settings) -> list[tuple[Any, ...]]:
    """Read events as any reader of the lake does."""
    assert settings.lake
    events = open_table(settings.lake, EVENTS)
    assert events.schema.field("process_hour").type == pa.string()
    return sorted(
        (one["event_id"], one["position_flag"], one["process_hour"])
        for one in events.to_table().to_pylist()
    )


def expected_rows(hours: Hours) -> list[tuple[Any, ...]]:
    return sorted(
        (event, flag, f"{FIRST_HOUR + timedelta(hours=hour):%Y-%m-%dT%H}")
        for hour, events in hours.items()
        for event, flag in events.items()
    )


def files_by_hour(settings: Settings) -> dict[str, tuple[str, int, int]]:
    """Return the file of each hour with what tells one file from another: inode and time."""
    made = bring_up_to_date(settings)
    assert made is not None and settings.lake
    (events,) = [table for table in made.tables if table.name == EVENTS]
    found = {}
    for file in events.files:
        status = (Path(settings.lake) / file.name).stat()
        found[file.partition or ""] = (file.name, status.st_ino, status.st_mtime_ns)
    return found


def test_events_lie_by_process_hour_as_raw_does(settings: Settings) -> None:
    hours = {0: {"a": "good", "b": "good"}, 1: {"c": "jump"}, 30: {"d": "good"}}
    name = publish_hours(settings, hours, 1)
    assert sorted(files_by_hour(settings).values())[0][0] == (
        f"generation={name}/fct_trip_events/process_hour=2026-11-23T10/part-0.parquet"
    )
    assert list(files_by_hour(settings)) == ["2026-11-23T10", "2026-11-23T11", "2026-11-24T16"]
    assert rows_in_lake(settings) == expected_rows(hours)
    assert settings.lake
    # what its model does not declare is cut by month, whatever columns it has
    trips = open_table(settings.lake, "fct_trips")
    assert {"process_hour", "started_at_month"} <= {*trips.schema.names}
    assert trips.schema.field("process_hour").type == pa.timestamp("us")


def test_a_reader_opens_only_the_hours_it_asks_for(settings: Settings) -> None:
    publish_hours(settings, {hour: {f"event-{hour}": "good"} for hour in range(24)}, 1)
    files_by_hour(settings)
    assert settings.lake
    events = open_table(settings.lake, EVENTS)
    asked = (ds.field("process_hour") >= "2026-11-23T12") & (
        ds.field("process_hour") < "2026-11-23T14"
    )
    opened = [one.path for one in events.get_fragments(asked)]
    assert [path.rsplit("/")[-2] for path in opened] == [
        "process_hour=2026-11-23T12",
        "process_hour=2026-11-23T13",
    ]
    for file in Path(settings.lake).rglob("fct_trip_events/**/*.parquet"):
        if "T10" not in str(file) and "T12" not in str(file):  # DuckDB knows columns by the first
            file.write_bytes(b"nobody reads this")
    noon = events.to_table(filter=ds.field("process_hour") == "2026-11-23T12")
    assert noon["event_id"].to_pylist() == ["event-2"]
    # any other reader of folders named so, too
    with duckdb.connect() as connection:
        found = connection.execute(
            f"select event_id from read_parquet('{settings.lake}/*/fct_trip_events/*/*.parquet', "
            "hive_partitioning = true) where process_hour = '2026-11-23T12'"
        ).fetchall()
    assert found == [("event-2",)]


@pytest.mark.parametrize(
    ("change", "rewritten"),
    [
        ({}, set()),
        ({9: {"new": "good"}}, {"2026-11-23T19"}),
        ({1: {"c": "out_of_order"}}, {"2026-11-23T11"}),
        ({0: {"a": "good"}}, {"2026-11-23T10"}),
        ({2: {}}, set()),
    ],
    ids=["nothing", "a new hour", "another flag", "an event less", "an hour less"],
)
def test_only_hours_that_are_new_or_changed_are_written(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, change: Hours, rewritten: set[str]
) -> None:
    hours = {0: {"a": "good", "b": "good"}, 1: {"c": "good"}, 2: {"d": "good"}}
    publish_hours(settings, hours, 1)
    before = files_by_hour(settings)
    publish_hours(settings, hours | change, 2)
    written: list[str] = []
    put = Folder.put

    def noted(self: Folder, file: Path, name: str) -> None:
        written.append(name)
        put(self, file, name)

    monkeypatch.setattr(Folder, "put", noted)
    after = files_by_hour(settings)
    assert {hour for hour in after if after[hour] != before.get(hour)} == rewritten
    assert {one.split("=")[-1].split("/")[0] for one in written if f"/{EVENTS}/" in one} == (
        rewritten
    )
    assert rows_in_lake(settings) == expected_rows(hours | change)


events_of_an_hour = st.dictionaries(
    st.sampled_from("abc"), st.sampled_from(["good", "jump"]), max_size=3
)
builds = st.lists(
    st.dictionaries(st.integers(0, 3), events_of_an_hour, min_size=1), min_size=1, max_size=6
)


@given(published=builds, backs=st.lists(st.integers(0, 5), max_size=2))
@examples(max_examples=25, deadline=None)
def test_any_publications_leave_the_lake_of_the_last(
    tmp_path_factory: pytest.TempPathFactory, published: list[Hours], backs: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("published")
    settings = settings_for(folder / "home", lake=str(folder / "lake"))
    for number, hours in enumerate(published):
        before = _standing_hours(settings)
        publish_hours(settings, hours, number)
        after = files_by_hour(settings)
        same = {hour for hour in after if hour in before and before[hour][3] == _rows(hours, hour)}
        assert {hour: after[hour] for hour in same} == {hour: before[hour][:3] for hour in same}
        if number in backs and number:
            rollback(settings)
            bring_up_to_date(settings)
            assert rows_in_lake(settings) == expected_rows(published[number - 1])
            publish_hours(settings, hours, number + 100)
            bring_up_to_date(settings)
        assert rows_in_lake(settings) == expected_rows(hours)
    once = settings_for(folder / "other", lake=str(folder / "once"))
    publish_hours(once, published[-1], 0)
    assert _content(settings) == _content(once)
    # nothing lies there that no generation names
    made = bring_up_to_date(settings)
    assert made is not None
    with open_place(settings.lake or "", "LARDER_LAKE") as place:
        generations = {one.split("/")[0] for one in place.names() if "_manifest" in one}
    assert len(generations) <= 3


def _rows(hours: Hours, hour: str) -> list[tuple[Any, ...]]:
    return [row for row in expected_rows(hours) if row[2] == hour]


def _standing_hours(settings: Settings) -> dict[str, tuple[Any, ...]]:
    """Return the files of the hours that the lake has now, with their rows."""
    if not Path(settings.lake or "").exists():
        return {}
    rows = rows_in_lake(settings)
    return {
        hour: (*file, [row for row in rows if row[2] == hour])
        for hour, file in files_by_hour(settings).items()
    }


def _content(settings: Settings) -> dict[tuple[str, str | None], bytes]:
    """Read every file that the lake names, by table and month or hour."""
    made = bring_up_to_date(settings)
    assert made is not None and settings.lake
    return {
        (table.name, file.partition): (Path(settings.lake) / file.name).read_bytes()
        for table in made.tables
        for file in table.files
    }


def test_who_is_erased_leaves_their_hour_alone_rewritten(settings: Settings) -> None:
    hours = {0: {"a": "good", "b": "good"}, 1: {"c": "good"}}
    for minute in (1, 2):  # both name the same files
        publish_hours(settings, hours, minute)
        before = files_by_hour(settings)
    _leave_published(settings, "a")
    gone = rewrite_without(settings, ["driver-a"])
    after = files_by_hour(settings)
    assert len(gone) == 2
    assert {hour for hour in after if after[hour] != before[hour]} == {"2026-11-23T10"}
    assert rows_in_lake(settings) == expected_rows({0: {"b": "good"}, 1: {"c": "good"}})
    assert settings.lake
    for file in Path(settings.lake).rglob("*.parquet"):
        assert b"driver-a" not in file.read_bytes()
    # what was removed comes back from the generation of the warehouse, and breaks nothing
    rollback(settings)
    files_by_hour(settings)
    assert len(rows_in_lake(settings)) == 3


def _leave_published(settings: Settings, event: str) -> None:
    file = settings.published_database.resolve()
    with duckdb.connect(str(file)) as connection:
        connection.execute("delete from marts.fct_trip_events where event_id = ?", [event])


def test_a_file_that_was_cut_off_or_lost_is_written_again(settings: Settings) -> None:
    hours = {0: {"a": "good"}, 1: {"b": "good"}, 2: {"c": "good"}}
    publish_hours(settings, hours, 1)
    before = files_by_hour(settings)
    assert settings.lake
    (Path(settings.lake) / before["2026-11-23T10"][0]).unlink()
    with (Path(settings.lake) / before["2026-11-23T11"][0]).open("r+b") as file:
        file.truncate(100)
    publish_hours(settings, hours, 2)
    after = files_by_hour(settings)
    assert after["2026-11-23T12"] == before["2026-11-23T12"]
    assert rows_in_lake(settings) == expected_rows(hours)


@pytest.fixture
def bucket() -> Iterator[tuple[str, Any]]:
    with s3_endpoint():
        name = f"hours-{uuid4().hex}"
        yield name, make_bucket(name, keeps_versions=True)


def test_unchanged_hours_are_not_sent_to_a_bucket_again(
    tmp_path: Path, bucket: tuple[str, Any]
) -> None:
    name, client = bucket
    settings = settings_for(tmp_path / "home", lake=f"s3://{name}/lake")
    hours = {hour: {f"event-{hour}": "good"} for hour in range(4)}
    for number in range(5):  # what the first has written outlives it
        publish_hours(settings, hours | {4: {"late": f"flag {number}"}}, number)
        bring_up_to_date(settings)
    versions = client.list_object_versions(Bucket=name, Prefix="lake/generation=")["Versions"]
    keys = [one["Key"] for one in versions if f"/{EVENTS}/" in one["Key"]]
    by_hour = [key.split("process_hour=")[1][:13] for key in keys]
    assert [by_hour.count(f"2026-11-23T{hour}") for hour in range(10, 15)] == [1, 1, 1, 1, 3]
    assert len(keys) == len({*keys})
    assert rows_in_lake(settings) == expected_rows(hours | {4: {"late": "flag 4"}})


def test_a_lake_of_the_version_before_is_read_and_followed(settings: Settings) -> None:
    hours = {0: {"a": "good"}}
    name = publish_hours(settings, hours, 1)
    bring_up_to_date(settings)
    assert settings.lake
    for file in (
        Path(settings.lake) / "current.json",
        Path(settings.lake) / f"generation={name}" / "_manifest.json",
    ):
        content = json.loads(file.read_text())
        content["version"] = 1
        for table in content["tables"]:
            for one in table["files"]:
                one["name"] = one["name"].removeprefix(f"{content['prefix']}/")
                one["month"] = one.pop("partition")
                del one["fingerprint"]
        file.write_text(json.dumps(content))
    assert rows_in_lake(settings) == expected_rows(hours)
    publish_hours(settings, hours | {1: {"b": "good"}}, 2)
    bring_up_to_date(settings)
    assert rows_in_lake(settings) == expected_rows(hours | {1: {"b": "good"}})


def test_what_is_declared_is_an_hour_that_every_row_has() -> None:
    columns = {
        (model["name"], column["name"]): column
        for file in (PROJECT_ROOT / "models").rglob("*.yml")
        for model in yaml.safe_load(file.read_text()).get("models", ())
        for column in model.get("columns", ())
    }
    assert {*declared_partitions()} == {"fct_trip_events", "fct_menu_events"}
    for declared in declared_partitions().items():
        assert columns[declared]["data_type"] == "timestamp"
        assert {"type": "not_null"} in columns[declared]["constraints"]
