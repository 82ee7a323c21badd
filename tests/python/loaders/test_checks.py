from __future__ import annotations

import json
from typing import Any

import pytest
from landing_zone import Home, event, line

GOOD = line(event(1000))
DEEP_LIST = b"[" * 10_000 + b"]" * 10_000 + b"\n"
DEEP_OBJECT = b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"\n"

BAD_LINES = {
    "broken": (b'{"event_id": "x"\n', "broken_json"),
    "not JSON": (b"hello\n", "broken_json"),
    "two records": (line(event()).strip() + line(event()), "broken_json"),
    "lone quote": (b'"\n', "broken_json"),
    "quote and delimiter": (b'"a\x01b\n', "broken_json"),
    "byte order mark inside": (b"\xef\xbb\xbf" + line(event()), "broken_json"),
    "bad UTF-8": (b'{"event_id": "\xff"}\n', "invalid_utf8"),
    "UTF-16": ("{}".encode("utf-16") + b"\n", "invalid_utf8"),
    "NUL": (b'{"event_id": "a\x00"}\n', "nul_byte"),
    "only NUL": (b"\x00\x00\n", "nul_byte"),
    "list": (b"[1]\n", "not_an_object"),
    "number": (b"7\n", "not_an_object"),
    "null": (b"null\n", "not_an_object"),
    "deep list": (DEEP_LIST, "nested_too_deeply"),
    "deep object": (DEEP_OBJECT, "nested_too_deeply"),
    "too long": (line(event(note="x" * 1_048_576)), "line_too_long"),
    "far too long": (line(event(note="x" * 5_000_000)), "line_too_long"),
    "empty object": (b"{}\n", "missing_key"),
    "no key": (line(event(event_id=None)), "missing_key"),
    "empty key": (line(event(event_id="")), "missing_key"),
    "null key": (b'{"event_id": null, "kind": "taken"}\n', "missing_key"),
    "no place": (line(event(location_id=None)), "missing_field"),
    "impossible date": (line(event(occurred_at="2024-02-30T10:00:00Z")), "invalid_value"),
    "no instant": (line(event(occurred_at="yesterday")), "invalid_value"),
    "infinity": (line(event(occurred_at="infinity")), "invalid_value"),
    "year 1": (line(event(occurred_at="0001-01-01T00:00:00Z")), "invalid_value"),
    "year 9999": (line(event(occurred_at="9999-12-31T23:59:59Z")), "invalid_value"),
    "a clock without power": (line(event(occurred_at="1970-01-01T00:00:00Z")), "out_of_range"),
    "absurdly many": (line(event(quantity=1_000_001)), "out_of_range"),
    "far future": (line(event(occurred_at="2031-01-01T00:00:00Z")), "out_of_range"),
    "unknown kind": (line(event(kind="stolen")), "unknown_value"),
    "kind in capitals": (line(event(kind="TAKEN")), "unknown_value"),
    "negative": (line(event(quantity=-1)), "out_of_range"),
    "negative text": (line(event(quantity="-0.5")), "out_of_range"),
    "not a number": (line(event(quantity="three")), "invalid_value"),
    "list as number": (line(event(quantity=[1])), "invalid_value"),
    "boolean as number": (line(event(quantity=True)), "invalid_value"),
    "too large": (line(event(quantity="1e999")), "invalid_value"),
    "NaN": (b'{"event_id":"n","occurred_at":"2024-05-30T10:00:00Z","location_id":"L","item_id":"I",'
            b'"kind":"taken","quantity":NaN}\n', "invalid_value"),
}  # fmt: skip


def test_each_bad_line_has_its_reason_and_all_neighbours_are_loaded(home: Home) -> None:
    expected, content, number = [], b"", 0
    for bad, reason in BAD_LINES.values():
        content += line(event(number)) + bad
        number += 2
        expected.append((number, reason))
    home.land("fridge/stock_events/a.ndjson", content + GOOD)

    summary = home.load().entities["fridge/stock_events"]

    assert home.rejections() == expected
    assert len(home.keys()) == len(BAD_LINES) + 1
    assert (summary.files, summary.records) == (1, 2 * len(BAD_LINES) + 1)
    assert summary.rejected == len(BAD_LINES)


def test_reasons_name_field_and_rule_but_never_a_value(home: Home) -> None:
    home.land(
        "accounts/consents/a.ndjson",
        line({"customer_id": "C-secret", "purpose": "gossip", "is_granted": "maybe-secret"}),
    )
    home.load()

    ((reason, detail),) = home.query("select rejection_reason, rejection_detail from records")
    assert reason == "missing_field"
    assert "updated_at" in detail
    assert "secret" not in reason + detail


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2024-01-01T10:00:00Z", "2024-01-01 10:00:00"),
        ("2024-01-01T10:00:00+02:00", "2024-01-01 08:00:00"),
        ("2024-01-01T10:00:00.5-0330", "2024-01-01 13:30:00.5"),
        ("2024-01-01 10:00:00", "2024-01-01 10:00:00"),
        ("2024–01–01T10:00:00Z", "2024-01-01 10:00:00"),  # noqa: RUF001 - en dashes
        ("2024-01-01", "2024-01-01 00:00:00"),
    ],
)
def test_one_instant_has_one_content_however_it_is_written(
    home: Home, text: str, instant: str
) -> None:
    home.land(
        "fridge/stock_events/a.ndjson",
        line(event(occurred_at=text)) + line(event(occurred_at=f"{instant}Z".replace(" ", "T"))),
    )
    assert home.load().entities["fridge/stock_events"].duplicates == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"quantity": 2}, {"quantity": "2.0"}),
        ({"quantity": 2000}, {"quantity": "2e3"}),
        ({"is_promoted": True}, {"is_promoted": "TRUE"}),
        ({"is_promoted": False}, {"is_promoted": "0"}),
        ({"basket_id": ""}, {}),
        ({"unknown": 1}, {"unknown": 2}),
    ],
)
def test_values_that_mean_the_same_have_the_same_content(
    home: Home, one: dict[str, Any], other: dict[str, Any]
) -> None:
    home.land("fridge/stock_events/a.ndjson", line(event(**one)) + line(event(**other)))
    assert home.load().entities["fridge/stock_events"].duplicates == 1


@pytest.mark.parametrize(
    "changes", [{"quantity": 3}, {"basket_id": "b"}, {"customer_id": "C1"}, {"reason": "expired"}]
)
def test_other_values_are_other_content(home: Home, changes: dict[str, Any]) -> None:
    home.land("fridge/stock_events/a.ndjson", line(event()) + line(event(**changes)))
    assert home.load().entities["fridge/stock_events"].duplicates == 0


def test_a_bad_optional_value_is_named_and_does_not_reject(home: Home) -> None:
    bad: dict[str, Any] = {
        "expires_on": "soon",
        "unit_price_usd": -1,
        "is_promoted": "perhaps",
        "reason": "bored",
        "basket_id": "b",
    }
    home.land("fridge/stock_events/a.ndjson", line(event(**bad)))
    home.load()

    assert home.rejections() == []
    assert home.query("select unreadable_fields from records") == [
        ("expires_on,unit_price_usd,is_promoted,reason",)
    ]


def test_deep_nesting_is_counted_without_strings(home: Home) -> None:
    brackets = '[{"' * 600
    home.land("fridge/stock_events/a.ndjson", line(event(note=brackets)))
    home.load()
    assert home.rejections() == []


def test_the_older_menu_clicks_and_webhooks_are_read(home: Home) -> None:
    click = {"element_clicked": "entree_1", "time_spent": 3, "source_menu": "L1"}
    home.land(
        "menu/menu_events/a.jsonl",
        line(click | {"created_at": "2024–05–01 10:00:00"})  # noqa: RUF001 - en dashes
        + line(click | {"createdAt": "2024-05-01 10:00:00"}),
    )
    nested = {"event": {"_id": "t1", "createdAt": "2024-05-01T10:00:00Z", "type": "user.x",
                        "user": {"_id": "d1"}}}  # fmt: skip
    flat = {"id": "t2", "created_at": "2024-05-01T10:00:00Z", "type": "user.x", "_id": "d1"}
    home.land("trips/trip_events/a.ndjson", line(nested) + b"oops\n" + line(flat))
    summary = home.load()

    assert summary.entities["menu/menu_events"].duplicates == 1
    assert home.keys("trips/trip_events") == ["t1", "t2"]
    assert home.rejections("trips/trip_events") == [(2, "broken_json")]
    tokens = home.query("select count(distinct driver_token) from records", "trips/trip_events")
    assert tokens == [(1,)]


def test_several_events_in_one_record_are_records_of_their_own(home: Home) -> None:
    event = {"createdAt": "2024-06-01T10:00:00Z", "type": "user.updated_trip"}
    empty = line({"events": []})
    several = {"events": [event | {"_id": "t1"}, event | {"_id": "t2"}], "user": {"_id": "d"}}
    home.land("trips/trip_events/a.ndjson", b"\n" + line(several) + b"oops\n" + empty)
    home.land("trips/trip_events/b.json", json.dumps([several], indent=2).encode())
    counts = home.load().entities["trips/trip_events"]
    assert (counts.records, counts.rejected) == (6, 2)
    assert home.rejections("trips/trip_events") == [(3, "broken_json"), (4, "missing_field")]
    assert home.keys("trips/trip_events") == ["t1", "t1", "t2", "t2"]
    tokens = home.query("select count(distinct driver_token) from records", "trips/trip_events")
    assert tokens == [(1,)]


def test_nested_records_have_one_content_however_they_are_laid_out(home: Home) -> None:
    record = {"id": "t1", "created_at": "2024-05-01T10:00:00Z", "type": "user.x", "_id": "d1"}
    home.land("trips/trip_events/a.ndjson", line(record))
    home.land("trips/trip_events/b.json", json.dumps([record], indent=2).encode())
    home.land("trips/trip_events/c.json", json.dumps([record | {"trip": None}]).encode())
    home.load()
    assert home.query("select count(distinct content_hash), count(*) from records") == [(1, 3)]


def test_each_person_of_a_delivery_update_has_a_token_of_its_own(home: Home) -> None:
    """They are of one domain: an account has one token wherever it stands."""
    trip = {"_id": "trip", "MMUserId": "a2"}
    when, what = "2024-05-01T10:00:00Z", "user.updated_trip"
    flat = {"id": "t1", "created_at": when, "type": what, "_id": "d", "MMUserId": "a1"}
    user = {"_id": "d", "MMUserId": "a2", "trip": trip | {"MMUserId": "a1"}}
    event = {"createdAt": when, "type": what}
    home.land(
        "trips/trip_events/a.ndjson",
        line(flat | {"trip": trip})
        + line({"event": event | {"_id": "t2", "user": user}})
        + line({"events": [event | {"_id": "t3"}], "user": user})
        + line({"event": event | {"_id": "t4", "user": {"trip": trip}}}),
    )
    home.load()
    rows = home.query(
        "select driver_token, account_token, trip_account_token from records order by natural_key",
        "trips/trip_events",
    )
    (driver, first, second), nested, several, without = rows
    assert len({driver, first, second}) == 3
    assert nested == several == (driver, second, first)
    assert without == (None, None, second)
    assert home.query("select count(account_token) from records") == [(3,)]


def test_coordinates_are_read_in_each_shape_and_what_is_none_is_counted(home: Home) -> None:
    event = {"created_at": "2024-05-01T10:00:00Z", "type": "user.updated_trip"}

    def at(coordinates: object) -> bytes:
        landed: bytes = line(event | {"location": {"coordinates": coordinates}})
        return landed

    home.land(
        "trips/trip_events/a.ndjson",
        at({"longitude": "-120.5", "latitude": "36.9"})
        + at([-120.5, 36.9])
        + at({"longitude": "", "latitude": ""})
        + at({"longitude": "west", "latitude": "36.9"})
        + line(event | {"live": "perhaps"}),
    )
    home.load()
    found = home.query("select unreadable_fields from records order by line_number")
    assert found == [(None,), (None,), (None,), ("longitude",), ("is_live",)]
