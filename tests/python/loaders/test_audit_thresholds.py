from __future__ import annotations

import csv
from pathlib import Path

import pytest
from audit_batches import STOCK, thresholds

from larder.errors import AuditError
from loaders.audit.rules import THRESHOLDS_SEED, read_rules
from loaders.entities import read_entities


def test_the_shipped_thresholds_can_be_read_and_say_why() -> None:
    rules = read_rules(THRESHOLDS_SEED, read_entities())
    assert {rule.expectation for found in rules.values() for rule in found} >= {
        "not_null",
        "at_most",
        "rejected_share",
        "unknown_share",
        "fresh_within_hours",
        "volume_at_least",
    }
    with THRESHOLDS_SEED.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    keys = {(r["entity"], r["column_name"], r["expectation"], r["severity"]) for r in rows}
    assert len(keys) == len(rows)


def test_a_rule_of_an_entity_takes_the_place_of_one_for_all(tmp_path: Path) -> None:
    seed = thresholds(
        tmp_path,
        f"{STOCK},,rejected_share,,0.5,0,critical,It is different here.",
        "*,,rejected_share,,0.1,0,critical,It matters.",
        "*,item_id,unknown_share,,0.1,0,critical,It matters.",
        "*,kind,at_most,5,0.1,0,critical,It is a text everywhere.",
    )
    rules = read_rules(seed, read_entities())
    assert [rule.threshold for rule in rules[STOCK]] == [0.5, 0.1]
    assert [rule.expectation for rule in rules["catalog/items"]] == ["rejected_share"]
    assert [rule.threshold for rule in rules["catalog/calendar"]] == [0.1]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("*,,nice,,1,0,critical,why", "line 2: expectation must be one of not_null"),
        ("*,,rejected_share,,1,0,fatal,why", "severity must be one of critical, warning"),
        ("*,,rejected_share,,1,0,critical,", "why must say"),
        ("fridge/eggs,,rejected_share,,1,0,critical,why", "entity must be"),
        ("*,,rejected_share,,much,0,critical,why", "is not a number"),
        ("*,,rejected_share,,20,0,critical,why", "threshold is a share"),
        ("*,item_id,rejected_share,,1,0,critical,why", "column_name must be empty"),
        ("*,,not_null,,1,0,critical,why", "column_name must be given"),
        (f"{STOCK},colour,not_null,,1,0,critical,why", "must be a field of the entity"),
        (f"{STOCK},quantity,at_most,,1,0,critical,why", "bound goes with at_least and at_most"),
        (f"{STOCK},kind,at_most,3,1,0,critical,why", "must be a number for at_most"),
        (f"{STOCK},kind,unknown_share,,1,0,critical,why", "must be one of item_id, location_id"),
        (
            "accounts/customers,phone,at_most,9,1,0,critical,why",
            "column_name is personal: only not_null",
        ),
        (f"{STOCK},kind,fresh_within_hours,,1,0,critical,why", "must be an instant"),
    ],
)
def test_a_threshold_that_cannot_be_used_is_refused(
    tmp_path: Path, line: str, message: str
) -> None:
    with pytest.raises(AuditError, match=message):
        read_rules(thresholds(tmp_path, line), read_entities())


def test_thresholds_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match=r"nowhere.csv, cannot be read \(No such file"):
        read_rules(tmp_path / "nowhere.csv", read_entities())
    (tmp_path / "other.csv").write_text("a,b\n", encoding="utf-8")
    with pytest.raises(AuditError, match="must have the columns entity, column_name"):
        read_rules(tmp_path / "other.csv", read_entities())
