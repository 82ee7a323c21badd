"""Exports of DynamoDB are loaded as they are."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from erased_people import EMAIL, GONE, NAME, STAYS, customer, everything
from hypothesis import given, settings
from hypothesis import strategies as st
from landing_zone import Home, event, line

from loaders.entities import read_entities
from loaders.erasing import erase
from loaders.readers.dynamodb import is_export_line, plain_image
from loaders.readers.exact_json import Number, dumps, loads

STOCK, ITEMS = "fridge/stock_events", "catalog/items"
EXPORT = "AWSDynamoDB/01693685827463-2d8752fd"
MICROSECONDS = 1_717_200_000_123_456
ITEM = {
    "item_id": "I1",
    "item_name": "Soup",
    "category": "hot",
    "price_usd": 6,
    "unit_cost_usd": 2,
    "shelf_life_days": 3,
    "updated_at": "2024-01-01T00:00:00Z",
}


def attribute(value: Any) -> dict[str, Any]:
    """Write a value as DynamoDB does."""
    match value:
        case bool():
            return {"BOOL": value}
        case None:
            return {"NULL": True}
        case int() | float():
            return {"N": str(value)}
        case str():
            return {"S": value}
        case list():
            return {"L": [attribute(one) for one in value]}
        case _:
            return {"M": image(value)}


def image(record: dict[str, Any]) -> dict[str, Any]:
    """Write a record as DynamoDB does."""
    return {name: attribute(value) for name, value in record.items()}


def land_export(home: Home, entity: str, *lines: object, name: str = "a.json.gz") -> None:
    """Land an export with all that DynamoDB writes beside it."""
    folder = f"{entity}/{EXPORT}"
    home.land(f"{folder}/data/{name}", gzip.compress(b"".join(map(line, lines))))
    home.land(f"{folder}/manifest-summary.json", line({"version": "2020-06-30"}))
    home.land(f"{folder}/manifest-files.json", line({"itemCount": 1}))
    home.land(f"{folder}/manifest-files.md5", b"x")
    home.land(f"{folder}/_started", b"")


@pytest.mark.parametrize("name", ["a.json.gz", "a.json", "a.ndjson", "a.jsonl.gz"])
def test_a_full_export_gives_the_records_that_it_holds(home: Home, name: str) -> None:
    records = [event(n, customer_id="C1", quantity=n) for n in range(1, 4)]
    content = b"".join(line({"Item": image(record)}) for record in records)
    home.land(f"{STOCK}/x/{name}", gzip.compress(content) if name.endswith(".gz") else content)
    home.land(f"{STOCK}/plain.ndjson", b"".join(map(line, records)))
    home.load()
    assert home.rejections() == []
    rows = home.query(
        "select natural_key, content_hash, commerce_token, line_number, payload from records "
        "order by source_file, line_number"
    )
    assert len(rows) == 6
    plain, exported = rows[:3], rows[3:]
    assert [row[:3] for row in plain] == [row[:3] for row in exported]
    assert [row[3] for row in exported] == [1, 2, 3]
    assert [json.loads(row[4]) for row in exported] == records


def test_what_dynamodb_writes_beside_the_data_is_no_dead_letter(home: Home) -> None:
    land_export(home, STOCK, {"Item": image(event(1))})
    # all incremental exports share one folder of data
    home.land(f"{STOCK}/AWSDynamoDB/data/b.json", line({"NewImage": image(event(2))}))
    assert home.load().files == 2
    assert (home.keys(), home.rejections()) == (["e1", "e2"], [])


def test_an_incremental_export_has_new_versions_and_deletions(home: Home) -> None:
    keys = image({"item_id": "I1"})
    metadata = {"WriteTimestampMicros": {"N": str(MICROSECONDS)}}
    changed = ITEM | {"price_usd": 7, "updated_at": "2024-02-01T00:00:00Z"}
    land_export(
        home,
        ITEMS,
        {"Metadata": metadata, "Keys": keys, "NewImage": image(ITEM)},
        {"Metadata": metadata, "Keys": keys, "NewImage": image(changed), "OldImage": image(ITEM)},
        {"Metadata": metadata, "Keys": keys, "OldImage": image(changed)},
        {"Metadata": {"WriteTimestampMicros": str(MICROSECONDS)}, "Keys": keys},
    )
    home.load()
    found = [json.loads(row[0]) for row in home.query("select payload from records")]
    moment = datetime.fromtimestamp(MICROSECONDS // 10**6, UTC).replace(microsecond=123456)
    deleted = {"is_deleted": True, "updated_at": moment.isoformat().replace("+00:00", "Z")}
    assert found == [ITEM, changed, changed | deleted, {"item_id": "I1"} | deleted]
    # a deletion of a key alone lacks what an item must have: it is there to be mended
    assert home.rejections() == [(4, "missing_field")]


def test_a_deletion_of_an_event_is_a_dead_letter(home: Home) -> None:
    keys = image({"event_id": "e1"})
    land_export(home, STOCK, {"Keys": keys, "NewImage": image(event(1))}, {"Keys": keys})
    home.load()
    assert (home.keys(), home.rejections()) == (["e1"], [(2, "deleted_event")])


def test_lines_that_are_broken_or_none_of_dynamodbs_stand_for_themselves(home: Home) -> None:
    content = (
        b"{ broken\n\n"
        + line({"Item": image(event(1))})
        + line(event(2))
        + line({"Item": {"event_id": {"S": "e3", "N": "3"}}})
        + line({"Item": {"event_id": {"X": "e3"}}})
        + line({"Item": {"event_id": "e3"}})
        + line({"Item": 7})
        + b'{"Item": {"note": {"S": "\\ud800"}, '
        + line({"Item": image(event(4))})[len('{"Item": {') :]
        + b'{"Item": {"event_id'
    )
    home.land(f"{STOCK}/a.json", content)
    home.load()
    assert home.keys() == ["e1", "e2"]
    assert home.rejections() == [
        (1, "broken_json"),
        (5, "broken_dynamodb"),
        (6, "broken_dynamodb"),
        (7, "broken_dynamodb"),
        (8, "missing_key"),
        (9, "broken_json"),  # as half a surrogate pair is everywhere
        (10, "truncated_line"),
    ]


def test_a_damaged_export_is_one_dead_letter(home: Home) -> None:
    data = gzip.compress(b"".join(line({"Item": image(event(n))}) for n in range(100)))
    home.land(f"{STOCK}/a.json.gz", data[:-20])
    home.load()
    assert home.rejections() == [(1, "corrupt_file")]


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ({"S": "x"}, '"x"'),
        ({"N": "6.50"}, "6.50"),
        ({"N": "123456789012.123456"}, '"123456789012.123456"'),
        ({"N": "-1E+3"}, "-1E+3"),
        ({"BOOL": False}, "false"),
        ({"NULL": True}, "null"),
        ({"B": "aGk="}, '"aGk="'),
        ({"SS": ["b", "a"]}, '["a", "b"]'),
        ({"NS": ["2", "1"]}, "[1, 2]"),
        ({"BS": ["Yg==", "YQ=="]}, '["YQ==", "Yg=="]'),
        ({"L": [{"S": "b"}, {"N": "1"}, {"L": []}]}, '["b", 1, []]'),
        ({"M": {"a": {"M": {"b": {"NULL": True}}}}}, '{"a": {"b": null}}'),
    ],
)
def test_each_type_has_its_plain_value(given: dict[str, Any], plain: str) -> None:
    assert dumps(plain_image({"x": given})["x"]) == plain


def test_no_digit_of_a_number_is_lost(home: Home) -> None:
    long = "123456789012.123456"
    home.land(f"{ITEMS}/a.json", line({"Item": image(ITEM) | {"kitchen_id": {"N": "9" * 38}}}))
    home.land(
        "trends/food_trends/a.json",
        line(
            {
                "Item": image(
                    {
                        "region": "n",
                        "topic": "t",
                        "item_tag": "i",
                        "week_start": "2024-01-01",
                        "updated_at": "2024-01-01",
                    }
                )
                | {"trend_index": {"N": long}}
            }
        ),
    )
    home.load()
    assert home.rejections() == []
    text = " ".join(row[0] for row in home.query("select payload from records"))
    assert long in text
    assert "9" * 38 in text


texts = st.text(max_size=4)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**14), 10**14) | texts,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(texts, children, max_size=3),
    max_leaves=8,
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(texts, values, max_size=3))
def test_what_was_written_as_dynamodb_does_is_read_back(record: dict[str, Any]) -> None:
    assert is_export_line({"Item": image(record)})
    assert json.loads(dumps(plain_image(image(record)))) == record


@settings(max_examples=50, deadline=None)
@given(values)
def test_exact_json_is_json(value: Any) -> None:
    assert json.loads(dumps(loads(json.dumps(value)))) == value


def test_exact_json_keeps_every_digit_and_refuses_what_is_no_number() -> None:
    text = "[0.10000000000000000000001, 1E400, -0, 12345678901234567890]"
    assert dumps(loads(text)) == text
    assert isinstance(loads("1"), Number)
    for wrong in ("NaN", "[Infinity]", "-Infinity"):
        with pytest.raises(ValueError, match="no number"):
            loads(wrong)


def test_a_person_leaves_an_export_too_and_others_stay(home: Home) -> None:
    theirs = customer(GONE, full_name=NAME, email=EMAIL)
    land_export(
        home,
        "accounts/customers",
        {"Item": image(theirs)},
        {"Item": image(customer(STAYS))},
        {"Keys": image({"customer_id": GONE}), "OldImage": image(theirs)},
    )
    land_export(
        home,
        STOCK,
        {"NewImage": image(event(1)), "OldImage": image(event(1, customer_id=GONE))},
        {"NewImage": image(event(2, customer_id=GONE))},
        {"NewImage": image(event(3, customer_id=STAYS))},
        {"Item": image(event(4, customer_id=GONE)) | {"broken": {"X": "Y"}}},
    )
    home.load()
    before = home.keys(STOCK)
    erasure = erase(home.settings, GONE, lambda: datetime(2024, 6, 2, tzinfo=UTC))
    assert (erasure.traces, erasure.unsearchable) == ([], [])
    left = everything(home)
    assert not [text for text in (GONE, NAME, EMAIL) if text.encode() in left]
    assert STAYS.encode() in left
    assert home.keys(STOCK) == before == ["e1", "e2", "e3"]
    assert home.load().files == 0


def test_the_entities_of_these_tests_are_what_they_are_taken_for() -> None:
    assert (read_entities()[ITEMS].is_thing, read_entities()[STOCK].is_thing) == (True, False)
