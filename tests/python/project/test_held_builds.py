"""What an audit holds leaves the build, also where a build without an audit has taken it."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest
from dbt_client import WITHOUT_TESTS, Dbt
from landing_zone import Home, decide
from warehouse_homes import NOW, settings_of

from larder import build
from larder.errors import BuildError
from larder.settings import Settings
from loaders.audit import list_held
from loaders.load import load

SELECTED = ("--select", "+fct_waste")
EVENT = {
    "event_id": "e1",
    "occurred_at": "2019-04-30T10:00:00Z",
    "location_id": "L1",
    "item_id": "I1",
    "kind": "discarded",
    "quantity": 1,
}


def wasted(settings: Settings) -> int:
    """Count the rows of the fact."""
    with duckdb.connect(str(settings.build_database), read_only=True) as connection:
        return int(connection.execute("select count(*) from marts.fct_waste").fetchall()[0][0])


def test_what_is_held_after_it_was_built_is_taken_out(
    dbt: Dbt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def refuse(_settings: Settings, arguments: list[str], *_: object, **_more: str) -> None:
        asked.append(arguments)
        raise BuildError("only asked")

    monkeypatch.setattr(build, "run_dbt", refuse)
    settings = settings_of(tmp_path / "home")
    folder = settings.landing_folder / "fridge/stock_events"
    folder.mkdir(parents=True)
    (folder / "a.ndjson").write_text(json.dumps(EVENT) + "\n", encoding="utf-8")
    load(settings, lambda: NOW)
    result = dbt.run(settings.home, "build", *SELECTED, *WITHOUT_TESTS)
    assert result.success, (result.message, result.problems)
    assert wasted(settings) == 1

    decide(Home(settings), "held")
    held = [segment.segment for segment in list_held(settings)]
    with pytest.raises(BuildError):
        build.build(settings, held)
    assert asked.pop() == ["build", "--full-refresh"]

    result = dbt.run(settings.home, "run", *SELECTED, "--full-refresh")
    assert result.success, (result.message, result.problems)
    assert wasted(settings) == 0
    with pytest.raises(BuildError):
        build.build(settings, held)
    assert asked.pop() == ["build"]
