from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs
import pyarrow.parquet as pq
import pytest
import sqlglot
from buckets import REGION, make_bucket, s3_endpoint
from pydantic import ValidationError
from serving_processes import NOW, build_marts, settings_for
from sqlglot import exp

from larder.build_state import fingerprint, mark_tested, say_published
from larder.errors import WarehouseError
from larder.pipeline import RunReport, publish_build, roll_back, run
from larder.serving import lake_tables
from larder.serving.lake import bring_up_to_date, open_table
from larder.serving.places import Folder, open_place
from larder.serving.publish import generation_file, list_generations, publish, rollback
from larder.settings import Settings

HOURS = 24 * 45  # from 2019-04-01: two months


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3_endpoint() as url:
        yield url


@pytest.fixture(params=["folder", "bucket"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """A home whose lake is in a folder, or in a bucket that keeps versions."""
    place = str(tmp_path / "lake")
    if request.param == "bucket":
        request.getfixturevalue("endpoint")
        place = f"s3://lake-{uuid4().hex}/of/larder"
        make_bucket(place.split("/")[2], keeps_versions=True)
    made: Settings = settings_for(tmp_path / "home", lake=place)
    return made


@pytest.fixture
def folder_settings(tmp_path: Path) -> Settings:
    made: Settings = settings_for(tmp_path / "home", lake=str(tmp_path / "lake"))
    return made


def publish_version(settings: Settings, version: int, rows: int = HOURS) -> str:
    build_marts(settings, version, rows)
    return publish(settings, NOW + timedelta(minutes=version)).generation


def version_in_lake(settings: Settings) -> int:
    """Read every table; all must agree on one version."""
    assert settings.lake
    tables = ("fct_sales", "fct_waste", "rpt_sales")
    found = [open_table(settings.lake, name).to_table(["version"]) for name in tables]
    versions = {version for table in found for version in table["version"].to_pylist()}
    assert len(versions) == 1
    assert len({len(table) for table in found}) == 1
    return int(versions.pop())


def names_in(settings: Settings) -> list[str]:
    with open_place(settings.lake or "", "LARDER_LAKE") as place:
        return sorted(place.names())


def test_every_table_is_in_the_lake_row_for_row(settings: Settings) -> None:
    name = publish_version(settings, 1)

    made = bring_up_to_date(settings)

    assert made is not None
    assert (made.generation, made.published_at) == (name, NOW + timedelta(minutes=1))
    assert [(table.name, table.rows) for table in made.tables] == [
        ("fct_sales", HOURS),
        ("fct_waste", HOURS),
        ("rpt_sales", HOURS),
    ]
    with duckdb.connect(str(generation_file(settings, name)), read_only=True) as connection:
        for table in made.tables:
            assert settings.lake
            read_back = open_table(settings.lake, table.name).to_table()
            columns = ", ".join(column.name for column in table.columns)
            connection.register("read_back", read_back)
            both = ("read_back", f"marts.{table.name}")
            for one, other in (both, both[::-1]):
                rest = f"select {columns} from {one} except all select {columns} from {other}"
                assert connection.execute(rest).fetchall() == []
    assert version_in_lake(settings) == 1


def test_any_reader_finds_it_through_the_endpoint_without_larder(
    endpoint: str, tmp_path: Path
) -> None:
    make_bucket("plain-readers")
    settings = settings_for(tmp_path / "home", lake="s3://plain-readers/lake")
    publish_version(settings, 1)
    bring_up_to_date(settings)

    system = pyarrow.fs.S3FileSystem(
        access_key="any",
        secret_key="any",  # noqa: S106 - the endpoint is our own
        endpoint_override=endpoint,
        region=REGION,
    )
    with system.open_input_stream("plain-readers/lake/current.json") as stream:
        current = json.loads(stream.read())
    sales = ds.dataset(
        f"plain-readers/lake/{current['prefix']}/fct_sales",
        filesystem=system,
        partitioning="hive",
    )
    may = sales.to_table(filter=ds.field("sold_at_month") == "2019-05")

    assert sales.count_rows() == HOURS
    assert len(may) == 24 * 15
    assert min(may["sold_at"].to_pylist()).isoformat() == "2019-05-01T00:00:00"
    assert may.schema.field("amount_usd").type == pa.decimal128(9, 2)
    assert may.schema.field("sold_at").type == pa.timestamp("us")
    assert may["item_ids"].to_pylist()[0] == ["a", "b"]


def test_files_are_cut_by_month_compressed_and_plainly_typed(folder_settings: Settings) -> None:
    name = publish_version(folder_settings, 1)
    bring_up_to_date(folder_settings)

    assert [one for one in names_in(folder_settings) if one.endswith(".parquet")] == [
        f"generation={name}/fct_sales/sold_at_month=2019-04/part-0.parquet",
        f"generation={name}/fct_sales/sold_at_month=2019-05/part-0.parquet",
        f"generation={name}/fct_waste/part-0.parquet",
        f"generation={name}/rpt_sales/part-0.parquet",
    ]
    assert folder_settings.lake
    for file in Path(folder_settings.lake).rglob("*.parquet"):
        group = pq.read_metadata(file).row_group(0)
        assert {group.column(i).compression for i in range(group.num_columns)} == {"ZSTD"}
    sold_at = pq.ParquetFile(next(Path(folder_settings.lake).rglob("*=2019-04/*"))).schema.column(2)
    logical_type = json.loads(sold_at.logical_type.to_json())
    assert sold_at.physical_type == "INT64"
    assert (logical_type["timeUnit"], logical_type["isAdjustedToUTC"]) == ("microseconds", False)


def test_athena_is_told_of_every_table(folder_settings: Settings) -> None:
    name = publish_version(folder_settings, 1)
    made = bring_up_to_date(folder_settings)
    assert made and folder_settings.lake
    with open_place(folder_settings.lake, "LARDER_LAKE") as place:
        ddl = (place.read("athena.sql") or b"").decode()

    statements = [one for one in sqlglot.parse(ddl, dialect="athena") if one]

    (partitions,) = [one for one in statements if not isinstance(one, exp.Create)]
    statements.remove(partitions)
    assert [one.args["kind"] for one in statements] == ["DATABASE", *["TABLE"] * 3, *["VIEW"] * 3]
    for table, statement, view in zip(made.tables, statements[1:4], statements[4:], strict=True):
        created, target = statement.this, view.find_all(exp.Table)
        assert [one.name for one in target] == [table.name, created.this.name]
        assert created.this.name.startswith(f"{table.name}__{name[:8]}")
        columns = {
            one.name: one.args["kind"].sql("hive").lower().replace(" ", "")
            for one in created.expressions
        }
        assert columns == {one.name: one.type for one in table.columns}
        base = (
            folder_settings.lake
            if "://" in folder_settings.lake
            else f"file://{folder_settings.lake}"
        )
        (place_of_it,) = statement.find_all(exp.LocationProperty)
        assert place_of_it.name == f"{base}/generation={name}/{table.name}/"
    assert "partitioned by (`sold_at_month` string)" in ddl
    # each partition is where its file lies
    told = re.findall(r"\(`sold_at_month` = '(.+)'\) location '(.+)'", ddl)
    assert [month for month, _ in told] == ["2019-04", "2019-05"]
    for file, (_, location) in zip(made.tables[0].files, told, strict=True):
        folder = location.removeprefix("file://").removeprefix(folder_settings.lake)
        assert file.name == f"{folder[1:]}part-0.parquet"
        assert file.name in names_in(folder_settings)


def test_the_last_generations_stay_and_going_back_writes_nothing(folder_settings: Settings) -> None:
    names = []
    for version in range(1, 5):
        names.append(publish_version(folder_settings, version, rows=10))
        bring_up_to_date(folder_settings)
    kept = {name.split("/")[0].removeprefix("generation=") for name in names_in(folder_settings)}
    assert kept == {*names[1:], "current.json", "athena.sql"}
    assert version_in_lake(folder_settings) == 4

    rollback(folder_settings)
    before = names_in(folder_settings)
    made = bring_up_to_date(folder_settings)

    assert made and made.generation == names[2]
    assert version_in_lake(folder_settings) == 3
    assert names_in(folder_settings) == before


@pytest.mark.parametrize("moment", range(1, 9))
def test_whatever_is_killed_the_lake_is_whole(
    folder_settings: Settings, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """Eight files are put: four of tables, the DDL, the manifest, the switch, the DDL again."""
    publish_version(folder_settings, 1)
    bring_up_to_date(folder_settings)
    publish_version(folder_settings, 2)
    put, calls = Folder.put, 0

    def dying(self: Folder, file: Path, name: str) -> None:
        nonlocal calls
        calls += 1
        if calls == moment:
            raise KeyboardInterrupt
        put(self, file, name)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Folder, "put", dying)
        bring_up_to_date(folder_settings)

    assert version_in_lake(folder_settings) == (1 if moment < 8 else 2)
    publish_version(folder_settings, 3)
    bring_up_to_date(folder_settings)
    assert version_in_lake(folder_settings) == 3
    assert not list(folder_settings.home.glob(".lake-*"))
    whole = {name.split("/")[0] for name in names_in(folder_settings) if "_manifest" in name}
    begun = {name.split("/")[0] for name in names_in(folder_settings) if "part-0" in name}
    assert begun == whole


def test_athena_is_told_of_what_a_killed_one_has_switched_to(
    folder_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next run finds its generation in current.json, but athena.sql of the one before."""
    first = publish_version(folder_settings, 1, rows=10)
    bring_up_to_date(folder_settings)
    second = publish_version(folder_settings, 2, rows=10)
    put = Folder.put

    def dying(self: Folder, file: Path, name: str) -> None:
        if name == "athena.sql":
            raise KeyboardInterrupt
        put(self, file, name)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Folder, "put", dying)
        bring_up_to_date(folder_settings)
    assert folder_settings.lake
    told = Path(folder_settings.lake) / "athena.sql"
    assert version_in_lake(folder_settings) == 2
    assert f"generation={first}/" in told.read_text()

    bring_up_to_date(folder_settings)

    of_its_own = Path(folder_settings.lake) / f"generation={second}" / "athena.sql"
    assert told.read_text() == of_its_own.read_text()
    before = told.stat()
    bring_up_to_date(folder_settings)
    assert told.stat().st_mtime_ns == before.st_mtime_ns


def test_what_is_read_back_wrong_never_gets_to_readers(
    folder_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_version(folder_settings, 1)
    bring_up_to_date(folder_settings)
    publish_version(folder_settings, 2)
    write = lake_tables.write_part

    def shortened(*arguments: Any) -> None:
        write(*arguments)
        file = arguments[-1]
        pq.write_table(pq.read_table(file, partitioning=None).slice(1), file)

    with monkeypatch.context() as patch, pytest.raises(WarehouseError, match="were read back"):
        patch.setattr("larder.serving.lake.write_part", shortened)
        bring_up_to_date(folder_settings)
    assert version_in_lake(folder_settings) == 1

    bring_up_to_date(folder_settings)
    assert version_in_lake(folder_settings) == 2


def test_a_lake_out_of_reach_does_not_stop_the_warehouse(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_bucket("out-of-reach")
    settings = settings_for(tmp_path / "home", lake="s3://out-of-reach/lake")
    build_marts(settings, 1, 10)
    mark_tested(settings, "one")
    publish_build(settings, lambda: NOW)
    build_marts(settings, 2, 10)
    mark_tested(settings, "two")
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        patch.setenv("AWS_MAX_ATTEMPTS", "1")
        with pytest.raises(WarehouseError, match=r"LARDER_LAKE: .*Readers of the warehouse have"):
            publish_build(settings, lambda: NOW)
    assert version_in_lake(settings) == 1
    assert len(list_generations(settings)) == 2

    bring_up_to_date(settings)
    assert version_in_lake(settings) == 2
    roll_back(settings)
    assert version_in_lake(settings) == 1
    assert endpoint


def test_a_run_that_finds_nothing_new_makes_a_lake_good(
    folder_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = publish_version(folder_settings, 1, rows=10)
    say_published(folder_settings, name, fingerprint(folder_settings))
    folder_settings.landing_folder.mkdir()
    monkeypatch.setattr("larder.pipeline.audit", lambda *_: None)
    monkeypatch.setattr("larder.pipeline.has_docs", lambda _: True)

    run(folder_settings, lambda: NOW, lambda _: lambda *_: None, report := RunReport())

    assert report.build is None
    assert version_in_lake(folder_settings) == 1


def test_a_bucket_that_is_not_there_is_a_sentence(endpoint: str, tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "home", lake="s3://never-made/lake")
    publish_version(settings, 1)
    with pytest.raises(WarehouseError, match=r"s3://never-made/lake cannot be used .*NoSuchBucket"):
        bring_up_to_date(settings)
    with pytest.raises(WarehouseError, match="NoSuchBucket"):
        open_table("s3://never-made/lake", "fct_sales")
    assert endpoint


def test_what_leaves_a_bucket_leaves_all_its_versions(endpoint: str, tmp_path: Path) -> None:
    client = make_bucket("versions", keeps_versions=True)
    settings = settings_for(tmp_path / "home", lake="s3://versions/lake")
    first = publish_version(settings, 1, rows=10)
    bring_up_to_date(settings)
    client.create_multipart_upload(Bucket="versions", Key=f"lake/generation={first}/killed")
    for version in (2, 3, 4):
        publish_version(settings, version, rows=10)
        bring_up_to_date(settings)

    found = client.list_object_versions(Bucket="versions")
    keys = [one["Key"] for kind in ("Versions", "DeleteMarkers") for one in found.get(kind, ())]
    assert any(list_generations(settings)[0] in key for key in keys)
    assert not any(first in key for key in keys)
    assert not client.list_multipart_uploads(Bucket="versions").get("Uploads")
    assert endpoint


ODD_TYPES = {
    "170141183460469231731687303715884105727::hugeint // 10": "decimal(38,0)",
    "18446744073709551615::ubigint": "decimal(20,0)",
    "1::utinyint": "smallint",
    "'a'::enum('a', 'b')": "string",
    "uuid()": "string",
    "timestamptz '2019-04-01 02:00:00+02'": "timestamp",
    "timestamp_ns '2019-04-01 00:00:00'": "timestamp",
    "{'a': 1, 'b': ['x']}": "struct<a:int,b:array<string>>",
    "map {'a': 1.5}": "map<string,decimal(2,1)>",
    "1.5::float": "float",
    "'ab'::blob": "binary",
    "true": "boolean",
}


def test_odd_types_become_types_that_athena_knows(folder_settings: Settings) -> None:
    build_marts(folder_settings, 1, 1)
    columns = ", ".join(f"{sql} as c{number}" for number, sql in enumerate(ODD_TYPES))
    with duckdb.connect(str(folder_settings.build_database)) as connection:
        connection.execute(
            f"create table marts.fct_odd as select {columns}, null::date as odd_date"
        )
        connection.execute(
            "create table marts.fct_none as select 1 as a, current_date as none_date"
        )
        connection.execute("delete from marts.fct_none")
        connection.execute("comment on column marts.fct_odd.c0 is $$it's\n'odd' \\ long$$")
    publish(folder_settings, NOW)
    made = bring_up_to_date(folder_settings)

    assert made and folder_settings.lake
    tables = {table.name: table for table in made.tables}
    types = [column.type for column in tables["fct_odd"].columns]
    assert types == [*ODD_TYPES.values(), "date"]
    row = open_table(folder_settings.lake, "fct_odd").to_table().to_pylist()[0]
    assert int(row["c0"]) == 17014118346046923173168730371588410572
    assert row["c5"].isoformat() == "2019-04-01T00:00:00"
    # a row without a date would have no month; without rows there is none, but its column
    assert (tables["fct_odd"].partition, tables["fct_none"].partition) == (None, "none_date_month")
    none = open_table(folder_settings.lake, "fct_none").to_table()
    assert (none.column_names, len(none)) == (["a", "none_date", "none_date_month"], 0)
    ddl = (Path(folder_settings.lake) / "athena.sql").read_text()
    assert "comment 'it\\'s \\'odd\\' long'" in ddl
    assert len(sqlglot.parse(ddl, dialect="athena")) >= 11


def test_what_no_lake_can_hold_is_a_sentence(folder_settings: Settings) -> None:
    build_marts(folder_settings, 1, 1)
    with duckdb.connect(str(folder_settings.build_database)) as connection:
        connection.execute("create table marts.fct_times as select [time '10:00'] as times")
    publish(folder_settings, NOW)
    with pytest.raises(WarehouseError, match=r"marts\.fct_times has a column of the type time64"):
        bring_up_to_date(folder_settings)


def test_a_lake_that_is_none_is_a_sentence(folder_settings: Settings) -> None:
    assert folder_settings.lake
    with pytest.raises(WarehouseError, match="there is no lake at"):
        open_table(folder_settings.lake, "fct_sales")
    publish_version(folder_settings, 1, rows=10)
    bring_up_to_date(folder_settings)
    with pytest.raises(WarehouseError, match=r"There are: fct_sales, fct_waste, rpt_sales"):
        open_table(folder_settings.lake, "fct_sails")
    (Path(folder_settings.lake) / "current.json").write_text("[]")
    with pytest.raises(WarehouseError, match="is not the manifest of a lake"):
        open_table(folder_settings.lake, "fct_sales")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", None),
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/a/b/", "s3://bucket/a/b"),
        ("~/lake", str(Path("~/lake").expanduser())),
        ("gs://bucket", ValidationError),
        ("s3:///lake", ValidationError),
    ],
)
def test_a_lake_is_a_folder_or_a_bucket(value: str, expected: Any) -> None:
    if expected is ValidationError:
        with pytest.raises(ValidationError, match=re.escape("s3://bucket/prefix")):
            Settings(lake=value)
    else:
        assert Settings(lake=value).lake == expected
