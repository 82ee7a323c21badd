"""The lake of what Snowflake publishes is whole, whatever is refused, cut off or switched."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb
import pytest
from buckets import make_bucket, s3_endpoint
from conftest import Account
from copied_builds import clear_published, copy_build
from snowflake.connector import result_batch

from larder import snowflake
from larder.errors import WarehouseError
from larder.serving.exporting import export_table
from larder.serving.generations import generations
from larder.serving.lake import bring_up_to_date, open_table, rewrite_without
from larder.serving.places import open_place
from larder.serving.publish import KEPT_GENERATIONS
from larder.serving.snowflake_tables import SnowflakeTables, open_tables
from larder.settings import Settings
from larder.snowflake import ANALYTICS, fetch, open_snowflake

NOW = datetime(2024, 1, 1, 6, 0, tzinfo=UTC)
# An answer of more than the emulator sends at once: in three parts.
SALES = 12_000


@pytest.fixture
def settings(account: Account, tmp_path: Path) -> Settings:
    """A home with a lake, on an account where nothing is published."""
    found: Settings = account.settings(tmp_path / "home", tmp_path / "home.key")
    found.home.mkdir()
    clear_published(found)
    return found.model_copy(update={"lake": str(tmp_path / "lake")})


def publish_version(settings: Settings, version: int) -> str:
    """Publish marts that all carry a version."""
    folder = settings.home.parent / f"build {version} {uuid4().hex}"
    folder.mkdir()
    with duckdb.connect(str(folder / "build.duckdb")) as build:
        build.execute("create schema marts")
        build.execute(
            f"create table marts.fct_sales as select 'sale' || range as sale_key, {version} as "
            "version, date '2024-01-01' + (range % 60)::integer as sale_date, "
            f"range::decimal(18, 3) / 8 as units from range({SALES})"
        )
        build.execute(
            "create table marts.dim_items as "
            f"select 'a' as item_id, 3::integer as shelf_life_days, {version} as version"
        )
    copy_build(folder / "build.duckdb", settings, folder / "copied", ["marts"])
    engine = generations(settings)
    return engine.publish(settings, NOW + timedelta(hours=version)).generation


def version_in_lake(settings: Settings) -> int:
    """Read both tables whole; they must agree on one version."""
    assert settings.lake
    sales = open_table(settings.lake, "fct_sales").to_table()
    items = open_table(settings.lake, "dim_items").to_table()
    assert (len(sales), len(items)) == (SALES, 1)
    (version,) = {*sales["version"].to_pylist(), *items["version"].to_pylist()}
    return int(version)


def prefixes(settings: Settings) -> set[str]:
    with open_place(settings.lake or "", "LARDER_LAKE") as place:
        return {name.split("/")[0] for name in place.names("generation=")}


@pytest.mark.parametrize(
    ("match", "refusal", "words"),
    [
        ("^select .*fct_sales", {"code": 3001, "message": "Insufficient privileges"}, "deploy"),
        ("^select .*fct_sales", {}, "network"),
        ("^part 1", {}, "did not answer"),
        ("^part 2", {"is_short": True}, r"12,000 rows, but only 10,001 came"),
    ],
    ids=["refused", "cut off", "cut off between parts", "a part that is short"],
)
def test_whatever_is_refused_or_cut_off_readers_of_the_lake_keep_theirs(
    settings: Settings,
    account: Account,
    monkeypatch: pytest.MonkeyPatch,
    match: str,
    refusal: dict[str, Any],
    words: str,
) -> None:
    publish_version(settings, 1)
    bring_up_to_date(settings)
    newest = publish_version(settings, 2)
    monkeypatch.setattr(snowflake, "NETWORK_SECONDS", 2)
    monkeypatch.setattr(result_batch, "MAX_DOWNLOAD_RETRY", 2)
    with account.fault(match, **refusal), pytest.raises(WarehouseError, match=words) as caught:
        bring_up_to_date(settings)
    assert "\n" not in str(caught.value)
    assert version_in_lake(settings) == 1
    assert generations(settings).published_generation(settings) == newest
    bring_up_to_date(settings)
    assert version_in_lake(settings) == 2
    assert len(prefixes(settings)) == 2
    assert not list(settings.home.glob(".lake-*"))
    assert not list((settings.home / ".spill").iterdir())


def test_a_switch_of_readers_meanwhile_is_noticed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_version(settings, 1)
    bring_up_to_date(settings)
    publish_version(settings, 2)
    fill = SnowflakeTables.fill
    published: list[str] = []

    def publishing(self: SnowflakeTables, source: str, target: str, table: str) -> int:
        if not published:
            published.append(publish_version(settings, 3))
        return fill(self, source, target, table)

    with monkeypatch.context() as patch, pytest.raises(WarehouseError, match="while it was read"):
        patch.setattr(SnowflakeTables, "fill", publishing)
        bring_up_to_date(settings)
    assert version_in_lake(settings) == 1
    bring_up_to_date(settings)
    assert version_in_lake(settings) == 3


@pytest.fixture
def in_bucket(settings: Settings) -> Iterator[Settings]:
    """The same home with its lake in a bucket that keeps versions."""
    with s3_endpoint():
        bucket = f"lake-{uuid4().hex}"
        make_bucket(bucket, keeps_versions=True)
        yield settings.model_copy(update={"lake": f"s3://{bucket}/of/larder"})


def test_a_bucket_keeps_the_last_generations_and_going_back_brings_nothing(
    in_bucket: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = []
    for version in range(KEPT_GENERATIONS + 1):
        names.append(publish_version(in_bucket, version))
        bring_up_to_date(in_bucket)
        assert version_in_lake(in_bucket) == version
    assert prefixes(in_bucket) == {f"generation={name}" for name in names[1:]}
    generations(in_bucket).rollback(in_bucket)
    monkeypatch.setattr(SnowflakeTables, "fill", None)
    bring_up_to_date(in_bucket)
    assert version_in_lake(in_bucket) == KEPT_GENERATIONS - 1


def test_who_has_left_the_warehouse_leaves_the_lake(settings: Settings) -> None:
    publish_version(settings, 1)
    bring_up_to_date(settings)
    with open_snowflake(settings, "transformer") as connection:
        fetch(connection, "delete from larder.marts.fct_sales where sale_key = 'sale7'")
    before = prefixes(settings)
    assert rewrite_without(settings, ["nobody"]) == []
    assert rewrite_without(settings, ["sale7"]) == sorted(before)
    # the other month and the other table stay where they are
    assert prefixes(settings) == before | {f"{prefix}.1" for prefix in before}
    written = {file.parent.name for file in Path(settings.lake or "").glob("*.1/**/*.parquet")}
    assert written == {"sale_date_month=2024-01"}
    keys = open_table(settings.lake or "", "fct_sales").to_table(["sale_key"])["sale_key"]
    assert len(keys) == SALES - 1
    assert "sale7" not in keys.to_pylist()


def test_without_a_lake_or_a_publication_there_is_nothing_to_bring(
    settings: Settings, tmp_path: Path
) -> None:
    assert bring_up_to_date(settings) is None
    assert bring_up_to_date(settings.model_copy(update={"lake": None})) is None
    assert not Path(settings.lake or "").exists()
    with pytest.raises(WarehouseError, match=r"nothing is published yet.*`larder run`"):
        export_table(settings, "dim_items", tmp_path / "items.csv", "csv")


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("tags array", r"dim_items.tags has the type (ARRAY|VARIANT)"),
        # dbt's data_type says integer, which Snowflake does not hold it to
        ("shelf_life_days bigint", "a value that its type cannot hold"),
    ],
)
def test_what_duckdb_has_no_equal_of_is_said(
    settings: Settings, tmp_path: Path, column: str, words: str
) -> None:
    value = "array_construct(1)" if "array" in column else "3000000000"
    with open_snowflake(settings, "transformer") as connection:
        for statement in (
            f"drop schema if exists {ANALYTICS}.marts cascade",
            f"create schema {ANALYTICS}.marts",
            f"create table {ANALYTICS}.marts.dim_items (item_id varchar, {column})",
            f"insert into {ANALYTICS}.marts.dim_items select 'a', {value}",
        ):
            fetch(connection, statement)
    generations(settings).publish(settings, NOW)
    with pytest.raises(WarehouseError, match=words) as caught:
        bring_up_to_date(settings)
    assert "\n" not in str(caught.value)
    with pytest.raises(WarehouseError, match=words):
        export_table(settings, "dim_items", tmp_path / "items.csv", "csv")
    assert not (tmp_path / "items.csv").exists()


def test_a_table_larger_than_the_memory_lies_in_a_folder_of_its_own(settings: Settings) -> None:
    folder = settings.home / ".spill"
    with open_snowflake(settings, "transformer") as connection:
        for statement in (
            f"drop schema if exists {ANALYTICS}.marts cascade",
            f"create schema {ANALYTICS}.marts",
            f"create table {ANALYTICS}.marts.fct_sales as select md5(seq4()::varchar) as sale_key "
            "from table(generator(rowcount => 800000))",
        ):
            fetch(connection, statement)
    small = settings.model_copy(update={"memory_limit": "20MB"})
    with open_tables(small, "transformer") as tables:
        source = f"{ANALYTICS}.marts"
        tables.make("marts", "fct_sales", tables.describe(source)["fct_sales"])
        assert tables.fill(source, "marts", "fct_sales") == 800_000
        spilled = [file for file in folder.rglob("*") if file.is_file()]
        assert sum(file.stat().st_size for file in spilled) > 5_000_000
        assert folder.stat().st_mode & 0o077 == 0
    assert not list(folder.iterdir())
