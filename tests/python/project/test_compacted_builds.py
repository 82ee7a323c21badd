"""A build over compacted segments is the build over their parts."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
from dbt_client import Dbt
from warehouse_homes import NOW, settings_of

from larder.settings import Settings
from loaders.audit import audit
from loaders.compaction import LEAST_PARTS, compact
from loaders.ledger import find_segments
from loaders.load import load

SELECTED = ("--select", "+fct_waste", "+rpt_data_quality")
LATER = NOW + timedelta(days=2)


def land(settings: Settings, first: int) -> None:
    """Land small files with waste, a conflict and a record that cannot be read in each."""
    folder = settings.landing_folder / "fridge/stock_events"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + LEAST_PARTS):
        event: dict[str, Any] = {
            "event_id": f"e{number}",
            "occurred_at": f"2019-04-{number % 28 + 1:02}T10:00:00Z",
            "location_id": "L1",
            "item_id": "I1",
            "kind": "discarded",
            "quantity": 1,
        }
        records = [event, event | {"quantity": 2}, event | {"event_id": f"b{number}", "kind": "?"}]
        lines = "".join(json.dumps(record) + "\n" for record in records)
        (folder / f"{number:03}.ndjson").write_text(lines, encoding="utf-8")
    load(settings, lambda: NOW)
    audit(settings, lambda: NOW)


def content(settings: Settings) -> dict[str, list[tuple[Any, ...]]]:
    """Read the tables, and when the build says to have accepted what."""
    with duckdb.connect(str(settings.build_database), read_only=True) as connection:
        return {
            query: connection.execute(f"{query} order by all").fetchall()
            for query in (
                "from marts.fct_waste",
                "from marts.rpt_data_quality",
                "select max(accepted_at) from raw.segments",
                "select count(*) from raw.fridge_stock_events",
            )
        }


def test_builds_before_and_after_a_compaction_are_the_same(dbt: Dbt, tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "home")

    def build(*arguments: str) -> dict[str, list[tuple[Any, ...]]]:
        result = dbt.run(settings.home, *arguments, *SELECTED, LARDER_UNAUDITED="wait")
        assert result.success, (result.message, result.problems)
        return content(settings)

    land(settings, 0)
    before = build("build", "--exclude-resource-type", "test", "unit_test")
    assert len(before["from marts.fct_waste"]) == LEAST_PARTS
    kept = {path: path.read_bytes() for path in find_segments(settings.raw_folder)}

    assert compact(settings, lambda: LATER).segments == 1
    assert build("run") == before

    for path, data in kept.items():  # as a kill leaves it: the parts are still there
        path.write_bytes(data)
    assert build("run") == before

    full = build("run", "--full-refresh")
    assert full["from marts.rpt_data_quality"] == before["from marts.rpt_data_quality"]
    assert len(full["from marts.fct_waste"]) == LEAST_PARTS


def test_what_was_compacted_before_it_was_built_is_new(dbt: Dbt, tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "home")
    land(settings, 0)
    result = dbt.run(
        settings.home, "build", *SELECTED, "--exclude-resource-type", "test", "unit_test"
    )
    assert result.success, (result.message, result.problems)
    land(settings, 100)

    assert compact(settings, lambda: LATER).segments == 1
    result = dbt.run(settings.home, "run", *SELECTED)

    assert result.success, (result.message, result.problems)
    assert len(content(settings)["from marts.fct_waste"]) == 2 * LEAST_PARTS
