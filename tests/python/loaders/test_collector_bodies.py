"""What the collector makes of a body: records, what shape they come in, what it rejects."""

from __future__ import annotations

import json

import pytest
from collecting import menu_event, trip_event
from hypothesis import given
from hypothesis import strategies as st

from loaders.collector.bodies import BodyError, Received, read_body
from loaders.collector.frames import Frame, decode, encode
from loaders.entities import read_entities
from loaders.limits import MAX_LINE_BYTES, MAX_NESTING
from loaders.several import told_apart

MENU, TRIPS = read_entities()["menu/menu_events"], read_entities()["trips/trip_events"]
EN_DASHES = "2022\u201309\u201311 23:00:00"
JSON = "application/json"
LINES = "application/x-ndjson; charset=utf-8"


def lines(*records: object) -> bytes:
    return b"\n".join(json.dumps(record).encode() for record in records)


def counts(received: Received) -> tuple[int, int]:
    return received.accepted, received.rejected


def test_a_record_is_kept_as_it_came_on_one_line() -> None:
    body = b'{\r\n  "event_id": "a b",\r\n  "occurred_at": "2024-06-01", "location_id": "x"\n}\n'
    received = read_body(MENU, body, "application/json")
    assert received.lines == [body.strip().replace(b"\r", b" ").replace(b"\n", b" ")]
    assert json.loads(received.lines[0]) == json.loads(body)
    assert counts(received) == (1, 0)


def test_lines_are_records_and_empty_ones_are_none() -> None:
    body = lines(menu_event(1), menu_event(2)) + b"\r\n\r\n" + b"{broken\n"
    assert counts(read_body(MENU, body, LINES)) == (2, 1)


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(b"[]", id="a list"),
        pytest.param(b"null", id="nothing"),
        pytest.param(b'{"location_id": "x"}', id="no time"),
        pytest.param(b'{"occurred_at": "", "location_id": "x"}', id="an empty time"),
        pytest.param(b'{"occurred_at": null, "location_id": "x"}', id="a null time"),
        pytest.param(b'{"occurred_at": "2024-06-01", "location_id": "x"', id="cut off"),
        pytest.param(b'\xff{"occurred_at": "2024-06-01", "location_id": "x"}', id="no UTF-8"),
        pytest.param(b'{"occurred_at": "2024-06-01", "location_id": ""}', id="no place"),
        pytest.param(
            b'{"occurred_at": "2024-06-01", "location_id": "x", "deep": %b%b}'
            % (b"[" * MAX_NESTING, b"]" * MAX_NESTING),
            id="too deep",
        ),
        pytest.param(b"[" * 200_000, id="far too deep"),
    ],
)
def test_what_a_load_cannot_take_is_kept_and_counted(record: bytes) -> None:
    received = read_body(MENU, record, "application/json")
    assert received.lines == [record]
    assert counts(received) == (0, 1)


def test_brackets_in_a_text_are_no_depth() -> None:
    assert counts(read_body(MENU, lines(menu_event(1, section="[" * 600)), LINES)) == (1, 0)


def test_the_older_menu_clicks_are_accepted() -> None:
    click = {"element_clicked": "entree_1", "time_spent": 67, "source_menu": "name"}
    body = lines(click | {"created_at": EN_DASHES}, click | {"createdAt": EN_DASHES})
    assert counts(read_body(MENU, body, LINES)) == (2, 0)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(b" \n ", 422, id="empty"),
        pytest.param(b"x" * (MAX_LINE_BYTES + 1), 413, id="too large"),
        pytest.param(b"{}\n" * 10_001, 413, id="too many"),
    ],
)
def test_a_body_is_refused_as_a_whole(body: bytes, status: int) -> None:
    with pytest.raises(BodyError) as refused:
        read_body(MENU, body, LINES)
    assert refused.value.status == status


def test_a_delivery_update_in_all_its_shapes() -> None:
    nested, event = trip_event(1), trip_event(2)["event"]
    flat = {"id": "1", "created_at": "2024-06-01", "type": "user.updated_trip", "_id": "driver"}
    several = {"events": [event, event], "user": {"_id": "driver"}}
    assert counts(read_body(TRIPS, lines(nested), JSON)) == (1, 0)
    assert counts(read_body(TRIPS, lines(flat), JSON)) == (1, 0)
    received = read_body(TRIPS, lines(several), JSON)
    assert counts(received) == (2, 0)
    assert json.loads(received.lines[1]) == {"event": event, "user": {"_id": "driver"}}
    assert counts(read_body(TRIPS, lines({"events": []}), JSON)) == (0, 1)
    assert counts(read_body(TRIPS, lines({"events": [{"type": "x"}, event]}), JSON)) == (1, 1)


VALUES: st.SearchStrategy[object] = st.sampled_from(
    ["", "x", "\xff", None, 0, 1.5, True, [], {}, [[]], {"type": "x"}]
)
EVENTS = st.dictionaries(st.sampled_from(["_id", "createdAt", "type"]), VALUES)


@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "created_at": VALUES,
                "type": VALUES,
                "event": EVENTS | VALUES,
                "note": st.just("x" * 2 * MAX_NESTING),
            },
        ),
        min_size=1,
        max_size=3,
    )
)
def test_how_many_are_usable_does_not_depend_on_the_company_they_come_in(
    records: list[dict[str, object]],
) -> None:
    # so some text is no UTF-8
    body = b"\n".join(json.dumps(one, ensure_ascii=False).encode("latin-1") for one in records)
    apart = [counts(read_body(TRIPS, line, JSON))[0] for line in body.split(b"\n")]
    assert counts(read_body(TRIPS, body, LINES))[0] == sum(apart)
    expected = [
        "\xff" not in json.dumps(record, ensure_ascii=False)
        and all(
            any(place.get(name) not in (None, "") for place, name in places)
            for places in places_of(record)
        )
        for record in records
    ]
    assert sum(apart) == sum(expected)


def places_of(record: dict[str, object]) -> list[list[tuple[dict[str, object], str]]]:
    """Say where each required field of an update may stand."""
    held = record.get("event")
    event = held if isinstance(held, dict) else {}
    return [[(record, "created_at"), (event, "createdAt")], [(record, "type"), (event, "type")]]


@given(st.binary(max_size=200))
def test_any_bytes_are_kept_or_refused(body: bytes) -> None:
    for entity, content_type in ((TRIPS, "application/json"), (MENU, LINES)):
        try:
            received = read_body(entity, body, content_type)
        except BodyError:
            assert not body.strip()
        else:
            assert received.accepted + received.rejected == len(received.lines) > 0
            assert not any(b"\n" in line for line in received.lines)


@given(st.recursive(st.none() | st.integers() | st.text(), lambda part: st.lists(part)))
def test_what_is_not_several_events_stays_one(value: object) -> None:
    record = json.dumps({"events": value}).encode()
    assert len(told_apart(record)) == (len(value) or 1 if isinstance(value, list) else 1)


FRAMES = st.lists(
    st.builds(
        lambda entity, at, parts: Frame(entity, at, b"".join(part + b"\n" for part in parts)),
        st.sampled_from(["trips/trip_events", "menu/menu_events"]),
        st.integers(0, 2**50),
        st.lists(st.binary(max_size=40), min_size=1, max_size=3),
    ),
    min_size=1,
    max_size=5,
)


@given(FRAMES)
def test_frames_are_read_as_they_were_written(frames: list[Frame]) -> None:
    found = decode(b"".join(encode(f.entity, f.received_us, f.lines) for f in frames))
    assert (found.whole, found.lost_bytes, found.is_damaged) == (frames, 0, False)


@given(FRAMES, st.data())
def test_a_write_that_was_cut_off_costs_the_last_frame_only(
    frames: list[Frame], data: st.DataObject
) -> None:
    *whole, last = [encode(f.entity, f.received_us, f.lines) for f in frames]
    kept = data.draw(st.integers(1, len(last) - 1))
    found = decode(b"".join([*whole, last[:kept]]))
    assert found.whole[: len(whole)] == frames[:-1]
    assert (len(found.whole), found.lost_bytes, found.is_damaged) == (len(whole), kept, False)


@given(FRAMES.filter(lambda frames: len(frames) > 1), st.data())
def test_a_flipped_bit_costs_its_frame_and_is_told(
    frames: list[Frame], data: st.DataObject
) -> None:
    first = encode(frames[0].entity, frames[0].received_us, frames[0].lines)
    rest = b"".join(encode(f.entity, f.received_us, f.lines) for f in frames[1:])
    at = data.draw(st.integers(0, len(first) - 1))
    flipped = bytearray(first)
    flipped[at] ^= 1 << data.draw(st.integers(0, 7))
    found = decode(bytes(flipped) + rest)
    assert found.whole == frames[1:]
    assert found.is_damaged
