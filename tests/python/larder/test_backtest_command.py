"""`larder backtest`, `report` and `train` on a build made by hand, or on too little history."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from kiosk_builds import AS_OF, ITEMS, PLACES, write_build
from rich.console import Console
from warehouse_homes import settings_of

from larder.backtest import Past, Proof, TooLittleHistoryError
from larder.cli import DONE, FAILED, WRONG_USE, larder
from larder.errors import UsageError, WarehouseError
from larder.learning import evidence
from larder.learning.backtest import Backtest
from larder.learning.orders import Costs
from larder.learning.panel import read_panel
from larder.learning.replay import Outcome, Saving
from larder.reporting import print_proof, print_training

STOCK_COLUMNS = (
    "restocked_units",
    "sold_units",
    "discarded_units",
    "adjusted_units",
    "closing_units",
    "stocked_out_minutes",
    "open_minutes",
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build where most of what comes is wasted."""
    home = tmp_path_factory.mktemp("proof") / "warehouse"
    write_build(settings_of(home))
    return home


def copied(home: Path, other: Path) -> str:
    """Copy a build to another home, to be damaged there."""
    return str(shutil.copy(settings_of(home).build_database, settings_of(other).build_database))


def run(home: Path, *arguments: str) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(
        larder, list(arguments), obj=settings_of(home), env={"LARDER_HOME": str(home)}
    )


def test_a_backtest_is_one_json_object_for_programs(home: Path) -> None:
    answer = run(home, "backtest", "--days", "20", "--format", "json")
    assert answer.exit_code == DONE, answer.output
    found = json.loads(answer.stdout)
    assert (found["days"], found["pairs"]) == (20, PLACES * ITEMS)
    assert (found["first_date"], found["last_date"]) == ("2025-06-11", "2025-06-30")
    done, plan = found["as_it_was"], found["with_the_plan"]
    assert done["delivered_units"] == 12 * 20 * PLACES * ITEMS
    assert plan["sold_units"] + plan["missed_units"] == pytest.approx(done["sold_units"], rel=0.01)
    assert plan["wasted_units"] < 0.5 * done["wasted_units"]
    saving, places = found["saving_usd"], found["saving_usd_by_place"]
    assert saving["total"] == pytest.approx(done["cost_usd"] - plan["cost_usd"])
    assert 0 < saving["low"] < saving["total"] < saving["high"]
    assert saving["confidence"] == 0.9
    assert set(places) == {f"Kiosk {number}" for number in range(PLACES)}
    assert list(places.values()) == sorted(places.values(), reverse=True)
    assert sum(places.values()) == pytest.approx(saving["total"])


@pytest.mark.parametrize(
    ("days", "error", "exit_code", "words"),
    [
        ("50", TooLittleHistoryError, FAILED, "there are 80 days. Choose fewer with --days"),
        ("500", TooLittleHistoryError, FAILED, "there are 0 days. Choose fewer with --days"),
        ("0", UsageError, WRONG_USE, "--days must be at least 1"),
    ],
)
def test_days_that_cannot_be_replayed_are_said_to_be(
    home: Path, days: str, error: type[Exception], exit_code: int, words: str
) -> None:
    answer = run(home, "backtest", "--days", days)
    assert isinstance(answer.exception, error)
    assert getattr(answer.exception, "exit_code", None) == exit_code
    assert words in str(answer.exception)
    assert not answer.stdout


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("delete from intermediate.int_stock__score_days", "no day with stock that has closed yet"),
        ("update marts.dim_items set unit_cost_usd = null", "has both a price and a cost"),
        ("update marts.dim_items set price_usd = null", "has both a price and a cost"),
        ("delete from marts.dim_locations", "at a place that is known"),
    ],
    ids=["empty", "no cost", "no price", "no place"],
)
def test_it_is_said_what_there_is_nothing_of(
    home: Path, tmp_path: Path, missing: str, words: str
) -> None:
    with duckdb.connect(copied(home, tmp_path)) as connection:
        connection.execute(missing)
    answer = run(tmp_path, "backtest", "--days", "20")
    assert isinstance(answer.exception, TooLittleHistoryError)
    assert words in str(answer.exception)
    assert " 0 days" not in str(answer.exception)
    page = shown(run(tmp_path, "report", "--days", "20"))
    assert words in page
    assert "waste_shrunk_rate" in page


def shown(answer: Result) -> str:
    """Read the page that a report was written to."""
    assert answer.exit_code == DONE, answer.output
    return Path("".join(answer.stdout.split("The report is in ")[1].split("\n"))).read_text("utf-8")


def test_a_report_is_one_page_with_its_charts(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "ORDER_LEVELS", (0.3, 0.9))
    page = shown(run(home, "report", "--days", "20"))
    # a week of waste and service, levels, two of drift: of what is never held there is no risk
    assert page.count("<svg") == 5
    assert "Nothing was held overnight" in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert "<script" not in page
    assert "20 days from 11 Jun 2025 to 30 Jun 2025, 30 items at 6 places" in page
    for title in (
        "Whether risks are what they say",
        "Drift over time",
        "Where the plan does worst",
    ):
        assert title in page
    assert "Kiosk 3" in page
    assert "0.1 to 0.15" in page
    assert "rings" in page
    # what comes from tables is text
    assert "0.1 &lt;beats&gt; 0.2" in page


def test_a_report_of_a_short_history_says_so(home: Path) -> None:
    page = shown(run(home, "report", "--days", "50"))
    assert "there are 80 days" in page
    assert "<svg" not in page
    assert "waste_shrunk_rate" in page


@pytest.mark.parametrize(
    ("command", "damage"),
    [
        ("report", "alter table marts.ml_evaluations drop column value_low"),
        ("report", "drop table marts.ml_models"),
        ("backtest", "drop table marts.dim_items"),
        ("backtest", "alter table marts.dim_dates drop column weekday"),
    ],
    ids=["earlier version", "killed before its scores", "killed before its items", "other columns"],
)
def test_a_build_that_lacks_something_is_to_be_built_again(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, damage: str
) -> None:
    with duckdb.connect(copied(home, tmp_path)) as connection:
        connection.execute(damage)
    # whatever is missing is missed at once
    monkeypatch.setattr("larder.backtest.read_past", None)
    answer = run(tmp_path, command)
    assert isinstance(answer.exception, WarehouseError)
    assert "`larder build`" in str(answer.exception)


def proof() -> Proof:
    """Return a proof of three places, where all of a week happened on day one of the first."""
    days = np.zeros((3, 7))
    panel = read_panel(
        pd.DataFrame(
            {
                **{name: np.zeros(21) for name in STOCK_COLUMNS},
                "pair_number": np.repeat(np.arange(3), 7),
                "days_ago": np.tile(np.arange(7), 3),
                "is_stocked_out": False,
            }
        ),
        pd.DataFrame(
            {
                "pair_number": np.arange(3),
                "location_id": ["p0", "p1", "p2"],
                "item_id": "soup",
                "as_of_date": pd.Timestamp(AS_OF),
            }
        ),
    )

    def outcome(ordered: float, sold: float, missed: float, wasted: float) -> Outcome:
        cells = [days.copy() for _ in range(4)]
        for cell, units in zip(cells, (ordered, sold, missed, wasted), strict=True):
            cell[0, 0] = units
        return Outcome(*cells)

    result = Backtest(
        costs=Costs(np.full(3, 3.0), np.full(3, 2.0)),
        done=outcome(100, 60, 20, 40),
        plan=outcome(90, 70, 10, 20),
        saving=Saving(60.25, -10.5, 120.0, np.array([-4.75, 50.0, 15.0])),
    )
    nothing: Any = None
    past = Past(panel, nothing, nothing, nothing, 0, ("Airport", "Museum", "Library"), ("Soup",))
    return Proof(past, nothing, result)


PROOF = proof()


def printed(proof: Proof) -> str:
    console = Console(file=io.StringIO(), width=120)
    print_proof(console, proof)
    assert isinstance(console.file, io.StringIO)
    return " ".join(console.file.getvalue().split())


def test_what_is_printed_and_what_is_written_are_the_same_figures() -> None:
    told, text = PROOF.to_dict(), printed(PROOF)
    assert told == {
        "days": 7,
        "first_date": "2025-06-24",
        "last_date": "2025-06-30",
        "pairs": 3,
        "as_it_was": {
            "delivered_units": 100,
            "sold_units": 60,
            "missed_units": 20,
            "fill_rate": 0.75,
            "wasted_units": 40,
            "cost_usd": 140.0,
        },
        "with_the_plan": {
            "delivered_units": 90,
            "sold_units": 70,
            "missed_units": 10,
            "fill_rate": 0.875,
            "wasted_units": 20,
            "cost_usd": 70.0,
        },
        "saving_usd": {"total": 60.25, "low": -10.5, "high": 120.0, "confidence": 0.9},
        "saving_usd_by_place": {"Museum": 50.0, "Library": 15.0, "Airport": -4.75},
    }
    assert list(told["saving_usd_by_place"]) == ["Museum", "Library", "Airport"]
    assert "The 7 days from 24 Jun 2025 to 30 Jun 2025, 3 items at 3 places" in text
    assert "share of demand that was served 75.0% 87.5%" in text
    assert "saved 60.25 USD; with 90 % certainty between -10.50 and 120.00" in text
    assert "Most at Museum (50.00), least at Airport (-4.75)" in text


def test_a_plan_that_costs_more_is_said_to() -> None:
    dearer = replace(PROOF.result, saving=replace(PROOF.result.saving, total=-60.25))
    assert "would have cost, in addition, 60.25 USD" in printed(replace(PROOF, result=dearer))


def test_places_of_one_name_are_added_up() -> None:
    twins = replace(PROOF, past=replace(PROOF.past, places=("Museum", "Museum", "Library")))
    assert twins.to_dict()["saving_usd_by_place"] == {"Museum": 45.25, "Library": 15.0}


def test_a_training_without_enough_history_says_why_there_is_none() -> None:
    console = Console(file=io.StringIO(), width=120)
    print_training(console, [])
    assert isinstance(console.file, io.StringIO)
    assert "Nothing was trained: no place has four months" in console.file.getvalue()
