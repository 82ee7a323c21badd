from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from audit_batches import STOCK, event, land, settings_for, thresholds

from larder.warehouse import open_memory
from loaders.audit import measures, verdicts
from loaders.audit.measures import Batch, frame, measure, measured, volume_ratio
from loaders.audit.rules import Rule, read_rules
from loaders.entities import read_entities


def rules_of(tmp_path: Path, *lines: str) -> list[Rule]:
    rules = read_rules(thresholds(tmp_path, *lines), read_entities())
    return next(found for found in rules.values() if found)


def test_a_frame_is_cut_by_content_and_holds_no_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(tmp_path)
    monkeypatch.setattr(measures, "FRAME_ROWS", 1000)
    rules = rules_of(
        tmp_path,
        f"{STOCK},customer_id,not_null,,1,0,warning,It matters.",
        f"{STOCK},location_id,not_null,,1,0,warning,It matters.",
        f"{STOCK},quantity,at_most,5,1,0,warning,It matters.",
    )
    land(settings, f"{STOCK}/a", [event(number, customer_id="c") for number in range(3000)])
    land(settings, f"{STOCK}/b", [event(1)] * 2500)
    frames = []
    with open_memory(settings) as connection:
        for order in (1, -1):
            names = verdicts.segment_names(settings)[::order]
            files = [str(settings.raw_folder / name) for name in names]
            batch = Batch(read_entities()[STOCK], names, files)
            measure(connection, batch, rules)
            assert batch.records == sum(batch.good.values()) == 5500
            frames.append(frame(connection, batch, rules))
        alike = [name for name in names if batch.good[name] == 2500]
        batch = Batch(batch.entity, alike, [str(settings.raw_folder / alike[0])])
        measure(connection, batch, rules)
        assert len(frame(connection, batch, rules)) == 1000
    for cut in frames:
        assert 400 < len(cut) <= 1000
        assert set(cut.columns) == {"customer_id", "location_id", "quantity"}
        assert set(cut["customer_id"].dropna()) <= {True}
        assert set(cut["location_id"]) == {True}
        assert set(cut["quantity"]) == {1.0}
    assert len(frames[0]) == len(frames[1])


def test_records_that_come_late_say_nothing_of_freshness(tmp_path: Path) -> None:
    rules = dict(
        enumerate(rules_of(tmp_path, f"{STOCK},occurred_at,fresh_within_hours,,24,0,warning,W."))
    )
    noon = datetime(2026, 5, 20, 12)  # noqa: DTZ001
    batch = Batch(read_entities()[STOCK], [], [], newest={"occurred_at": noon})
    now = noon + timedelta(hours=60)
    assert measured(batch, rules, {}, now) == {0: 60}
    assert measured(batch, rules, {noon.date(): 7}, now) == {0: 60}
    assert measured(batch, rules, {noon.date() + timedelta(days=1): 7}, now) == {}


def test_volume_compares_the_days_that_are_over() -> None:
    first = date(2026, 5, 1)
    history = {first + timedelta(days=day): 100 for day in range(28)}
    today, tomorrow = first + timedelta(days=28), first + timedelta(days=29)
    assert volume_ratio({"a": {today: 3}}, history) is None  # not over yet
    assert volume_ratio({"a": {today: 60, tomorrow: 1}, "b": {today: 20}}, history) == 0.8
    assert volume_ratio({"a": {first: 5}}, history) is None  # nothing before it
    assert volume_ratio({"a": {first + timedelta(days=20): 100}}, history) == 2
    week = dict.fromkeys(list(history)[-6:], 100)
    assert volume_ratio({"a": {today: 60, tomorrow: 1}}, week) is None  # six days say too little
    assert volume_ratio({}, {}) is None
