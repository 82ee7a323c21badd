"""What is published on Snowflake comes to this machine as what is published on DuckDB is here."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from conftest import Account
from copied_builds import clear_published, copy_build
from warehouse_homes import NOW

from larder.errors import WarehouseError
from larder.serving.compare import compare
from larder.serving.exporting import ExportFormat, export_table
from larder.serving.generations import generations
from larder.serving.lake import bring_up_to_date, open_table
from larder.serving.publish import published_generation
from larder.serving.snowflake_tables import SnowflakeTables
from larder.settings import Settings

# of the seven that end with April
LAST_DAYS = date(2019, 4, 28), date(2019, 4, 29)
RANGE = {"date_from": LAST_DAYS[0], "date_to": LAST_DAYS[1]}


@pytest.fixture(scope="module")
def here(built_home: Settings) -> Settings:
    """A home with a build that is published on DuckDB."""
    return built_home


@pytest.fixture(scope="module")
def there(account: Account, here: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home that publishes on Snowflake, where the same build is published."""
    folder = tmp_path_factory.mktemp("there")
    made: Settings = account.settings(folder / "home", folder / "home.key")
    made.home.mkdir()
    copy_build(here.build_database, made, folder / "copied", ["marts"])
    clear_published(made)
    generations(made).publish(made, NOW)
    return made


def with_lake(settings: Settings, lake: str | Path) -> Settings:
    return settings.model_copy(update={"lake": str(lake)})


def files_of(lake: Path) -> dict[str, bytes]:
    """Read every file of a lake."""
    return {
        file.relative_to(lake).as_posix(): file.read_bytes()
        for file in lake.rglob("*")
        if file.is_file()
    }


def test_the_lake_is_the_same_to_the_byte(here: Settings, there: Settings, tmp_path: Path) -> None:
    lake = tmp_path / "lake"  # one place: it is in athena.sql
    bring_up_to_date(with_lake(here, lake))
    ours = files_of(lake)
    lake.rename(tmp_path / "ours")
    made = bring_up_to_date(with_lake(there, lake))
    assert made is not None
    assert made.generation == published_generation(here)
    theirs = files_of(lake)
    assert theirs.keys() == ours.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []
    assert len(open_table(str(lake), "fct_stock_days").to_table()) > 500
    # the fingerprints are the same, too: each engine goes on with what the other has written
    again = bring_up_to_date(with_lake(there, tmp_path / "ours"))
    assert again is not None
    assert [table.files for table in again.tables] == [table.files for table in made.tables]


@pytest.mark.parametrize("file_format", ["csv", "parquet", "ndjson", "json"])
def test_an_export_is_the_same_to_the_byte(
    here: Settings, there: Settings, tmp_path: Path, file_format: ExportFormat
) -> None:
    for table in ("fct_sales", "dim_items", "rpt_alerts", "ml_waste_probabilities"):
        exports = [
            export_table(settings, table, tmp_path / name, file_format)
            for name, settings in (("here", here), ("there", there))
        ]
        assert exports[0].rows == exports[1].rows
        assert (tmp_path / "here").read_bytes() == (tmp_path / "there").read_bytes()


def test_only_the_days_asked_for_come(
    here: Settings, there: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    came = []

    def counted(*arguments: Any) -> int:
        came.append(fill(*arguments))
        return came[-1]

    fill = SnowflakeTables.fill
    monkeypatch.setattr(SnowflakeTables, "fill", counted)
    whole = export_table(there, "fct_sales", tmp_path / "whole", "csv")
    for days in ({"date_from": LAST_DAYS[0]}, {"date_to": LAST_DAYS[1]}, RANGE):
        ours = export_table(here, "fct_sales", tmp_path / "here", "csv", **days)
        theirs = export_table(there, "fct_sales", tmp_path / "there", "csv", **days)
        assert 0 < theirs.rows < whole.rows
        assert (theirs.rows, theirs.date_column) == (ours.rows, ours.date_column)
        assert came[-1] == theirs.rows
        assert (tmp_path / "here").read_bytes() == (tmp_path / "there").read_bytes()


def test_what_cannot_be_exported_is_said_alike(
    here: Settings, there: Settings, tmp_path: Path
) -> None:
    for table in ("fct_sale", "larder_generation"):
        said = set()
        for settings in (here, there):
            with pytest.raises(WarehouseError, match="no published table called") as caught:
                export_table(settings, table, tmp_path / "file", "csv")
            said.add(str(caught.value))
        assert len(said) == 1
    assert not list(tmp_path.iterdir())


def test_nothing_differs(here: Settings, there: Settings) -> None:
    both = here.model_copy(
        update={name: value for name, value in there if name.startswith("snowflake_")}
    )
    compared = compare(both)
    assert not compared.differences, "\n".join(map(str, compared.differences))
