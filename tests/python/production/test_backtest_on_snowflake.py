"""`larder backtest` and `report` say of a build on Snowflake what they say of it on DuckDB."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from conftest import Account
from copied_builds import copy_build
from kiosk_builds import write_build
from warehouse_homes import settings_of

from larder.cli import DONE, larder
from larder.errors import WarehouseError
from larder.learning import evidence
from larder.settings import Settings
from larder.snowflake import ANALYTICS, fetch, open_snowflake


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    made: Settings = settings_of(tmp_path_factory.mktemp("here") / "home")
    write_build(made)
    return made


@pytest.fixture(scope="module")
def there(account: Account, here: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("there")
    made: Settings = account.settings(folder / "home", folder / "home.key")
    made.home.mkdir()
    copy_build(here.build_database, made, folder / "copied", ["intermediate", "marts"])
    return made


def run(settings: Settings, *arguments: str) -> str:
    answer = CliRunner().invoke(larder, list(arguments), obj=settings)
    if answer.exception is not None and not isinstance(answer.exception, SystemExit):
        raise answer.exception
    assert answer.exit_code == DONE, answer.output
    return answer.stdout


def test_a_backtest_has_the_same_figures(here: Settings, there: Settings) -> None:
    arguments = ("backtest", "--days", "20", "--format", "json")
    ours, theirs = (json.loads(run(settings, *arguments)) for settings in (here, there))
    assert theirs == ours
    assert theirs["with_the_plan"]["wasted_units"] < theirs["as_it_was"]["wasted_units"]
    assert not list((there.home / ".spill").iterdir())


def test_a_report_is_the_same_page(
    here: Settings, there: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "ORDER_LEVELS", (0.3, 0.9))
    for settings in (here, there):
        assert "The report is in" in run(settings, "report", "--days", "20")
    assert there.report_page.read_text("utf-8") == here.report_page.read_text("utf-8")
    assert "<svg" in there.report_page.read_text("utf-8")


@pytest.mark.parametrize(
    "damage",
    [
        f"drop table {ANALYTICS}.marts.dim_items",
        f"alter table {ANALYTICS}.intermediate.int_stock__score_pairs drop column price_usd",
        f"drop schema {ANALYTICS}.intermediate cascade",
    ],
    ids=["killed before its items", "other columns", "nothing built"],
)
def test_a_build_that_lacks_something_is_to_be_built_again(there: Settings, damage: str) -> None:
    """Comes last, as what is missing stays so."""
    with open_snowflake(there, "transformer") as connection:
        fetch(connection, damage)
    with pytest.raises(WarehouseError, match="`larder build`"):
        run(there, "backtest", "--days", "20")
