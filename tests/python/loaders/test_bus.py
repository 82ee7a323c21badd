"""What is put on the event bus: which events, in what shape, once, and nobody's id."""

from __future__ import annotations

import csv
import json
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from kinesis_stream import bus_home, land, trip_event
from landing_zone import Home, decide, event, line, now

from larder.settings import PROJECT_ROOT
from loaders.bus import Publisher, buses, read_backlog
from loaders.bus.buses import InProcessBus
from loaders.bus.filling import fill
from loaders.bus.messages import TYPES_SEED
from loaders.bus.outbox import begin_outbox, open_outbox, outbox_file
from loaders.compaction import LEAST_PARTS, compact
from loaders.erasing import erase
from loaders.vault import open_vault

ENTITY = "trips/trip_events"
WHEN = "2024-05-30T10:00:00.125Z"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return bus_home(tmp_path)


def queued(home: Home) -> list[dict[str, Any]]:
    """Queue what was loaded, and return all that waits, in the order of its trips."""
    fill(home.settings, now)
    with closing(sqlite3.connect(outbox_file(home.settings))) as outbox:
        rows = outbox.execute("select body from messages order by occurred_at, id").fetchall()
    return [json.loads(body) for (body,) in rows]


def flat(**more: Any) -> dict[str, Any]:
    """Return an update in its flat form, as the original dataset has it."""
    return {
        "id": "t1",
        "created_at": WHEN,
        "live": "TRUE",
        "type": "user.arrived_at_trip_destination",
        "_id": "driver-of-all",
        "MMUserId": "account-of-all",
        "location": {
            "type": "Point",
            "coordinates": {"longitude": "-120.23", "latitude": "36.92"},
        },
        "trip": {"_id": "trip-1", "externalId": "round-7", "MMUserId": "account-of-all"},
        **more,
    }


def nested(**more: Any) -> dict[str, Any]:
    """Return the same update in its nested form."""
    return {
        "event": {
            "_id": "t1",
            "createdAt": WHEN,
            "type": "user.arrived_at_trip_destination",
            "location": {"type": "Point", "coordinates": [-120.23, 36.92]},
            "user": {
                "_id": "driver-of-all",
                "MMUserId": "account-of-all",
                "trip": {"_id": "trip-1", "externalId": "round-7", "MMUserId": "account-of-all"},
            },
            **more,
        }
    }


def several() -> dict[str, Any]:
    """Return the same update as one of several."""
    parts = nested()["event"]
    return {"events": [{**parts, "user": None}], "user": parts["user"]}


@pytest.mark.parametrize("body", [flat(), nested(), several()], ids=["flat", "nested", "several"])
def test_every_body_gives_the_same_message(home: Home, body: dict[str, Any]) -> None:
    land(home, "a", body)
    home.load()

    (message,) = queued(home)
    with open_vault(home.settings) as vault:
        (token,) = vault.known_tokens("driver-of-all", ["driver"])
    assert message == {
        "version": 1,
        "event_id": "t1",
        "event_type": "user.arrived_at_trip_destination",
        "occurred_at": "2024-05-30T10:00:00.125000Z",
        "received_at": "2024-05-31T06:00:00.000000Z",
        "driver_key": token,
        "trip_id": "trip-1",
        "trip_external_id": "round-7",
        "geofence_id": None,
        "longitude": -120.23,
        "latitude": 36.92,
    }


def test_only_the_types_of_the_seed_go_and_each_has_its_reason(home: Home) -> None:
    with TYPES_SEED.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(row["reason"] for row in rows)
    types = [row["event_type"] for row in rows]
    assert set(types) >= {"user.entered_geofence", "user.exited_geofence"}
    others = ["user.updated_trip", "user.entered_geofence.again", "USER.ENTERED_GEOFENCE", "x"]
    land(
        home,
        "a",
        *(trip_event(number, type=one) for number, one in enumerate([*types, *others])),
        # neither the word anywhere else, nor a type that is escaped, deceives
        trip_event(30, type="user.updated_trip", note="user.stopped_trip"),
    )
    escaped = line(trip_event(31)).replace(b"user.entered", b"\\u0075ser.entered")
    home.land(f"{ENTITY}/b.ndjson", escaped)
    home.land("fridge/stock_events/a.ndjson", line(event(1)))
    home.load()

    assert [one["event_type"] for one in queued(home)] == [*types, "user.entered_geofence"]


def test_a_place_is_whole_or_not_there_and_what_is_rejected_does_not_go(home: Home) -> None:
    land(
        home,
        "a",
        flat(id="a", location={"coordinates": {"longitude": "", "latitude": "36.9"}}),
        flat(id="b", location={"coordinates": [1, 2]}),
        flat(id="c", location=None, trip=None, _id=None),
        flat(id="d", created_at="never"),
    )
    home.load()

    places = {one["event_id"]: (one["longitude"], one["latitude"]) for one in queued(home)}
    assert places == {"a": (None, None), "b": (1.0, 2.0), "c": (None, None)}
    without = next(one for one in queued(home) if one["event_id"] == "c")
    assert (without["driver_key"], without["trip_id"]) == (None, None)


def test_the_real_webhooks_have_no_event_that_is_chosen_until_one_is(home: Home) -> None:
    data = PROJECT_ROOT.parent / "shared" / "data" / "delivery_webhooks.json"
    if not data.exists():
        pytest.skip("the original webhooks are not here")
    records = json.loads(data.read_text(encoding="utf-8"))
    records[40]["type"] = "user.stopped_trip"
    home.land(f"{ENTITY}/a.json", json.dumps(records).encode())
    home.load()

    (message,) = queued(home)
    assert message["event_id"] == records[40]["id"]
    assert message["trip_id"] == "64d28078c0350b0050c026fc"
    place = records[40]["location"]["coordinates"]
    assert message["longitude"] == pytest.approx(float(place["longitude"]), abs=1e-6)


ATTACKED = "driver-0815"


@pytest.mark.parametrize(
    "body",
    [
        flat(_id=ATTACKED, trip={"_id": ATTACKED, "externalId": f"the round of {ATTACKED}"}),
        flat(_id=ATTACKED, id=f"{ATTACKED}/17", trip={"_id": f"{ATTACKED}/monday"}),
        flat(_id=ATTACKED, id=None, geofence={"_id": f"home:{ATTACKED}"}),
        nested(user={"_id": ATTACKED, "trip": {"_id": ATTACKED, "externalId": ATTACKED}}),
        {"events": [flat(_id=None, id=ATTACKED)], "user": {"_id": ATTACKED}},
    ],
    ids=["trip", "event", "geofence", "nested", "several"],
)
def test_a_driver_is_in_no_message_wherever_a_sender_writes_the_id(
    home: Home, body: dict[str, Any]
) -> None:
    land(home, "a", body | ({"type": "user.stopped_trip"} if "event" not in body else {}))
    home.load()
    fill(home.settings, now)

    content = outbox_file(home.settings).read_bytes()
    assert ATTACKED.encode() not in content
    with open_vault(home.settings) as vault:
        tokens = vault.known_tokens(ATTACKED, ["driver"])
    if "events" not in body:  # that one names nobody in a way that the contract knows
        assert tokens[0].encode() in content


def test_without_an_id_of_its_own_an_event_is_named_by_no_hash_of_what_was_sent(
    home: Home,
) -> None:
    land(home, "a", flat(id=None), flat(id=None, created_at="2024-05-30T11:00:00Z"))
    home.load()

    names = [one["event_id"] for one in queued(home)]
    assert len(set(names)) == 2
    hashes = {key for (key,) in home.query("select content_hash from records", ENTITY)}
    assert not hashes & set(names)
    content = outbox_file(home.settings).read_bytes()
    assert not any(one.encode() in content for one in hashes)


def test_what_comes_again_is_queued_once_and_the_smallest_copy_of_a_conflict_goes(
    home: Home,
) -> None:
    land(home, "a", trip_event(1), trip_event(2), trip_event(1))
    land(home, "b", trip_event(2, note="other"), trip_event(2, geofence={"_id": "g"}))
    home.load()
    first = queued(home)
    assert [one["event_id"] for one in first] == ["t1", "t2"]
    ((smallest,),) = home.query(
        "select payload->'event'->'geofence'->>'_id' from records where natural_key = 't2' "
        "order by content_hash limit 1",
        ENTITY,
    )
    assert first[1]["geofence_id"] == smallest

    land(home, "c", trip_event(1), trip_event(2), trip_event(3))
    home.load()
    assert fill(home.settings, now) == 1
    assert fill(home.settings, now) == 0


def compacted(home: Home, first: int) -> None:
    """Load as many files as become one segment, and let them become it."""
    for number in range(first, first + LEAST_PARTS):
        land(home, f"{number:03d}", trip_event(number))
    home.load()
    if first == 0:
        assert fill(home.settings, now) == LEAST_PARTS
    decide(home, "accepted")
    assert compact(home.settings, lambda: now() + timedelta(days=2)).segments == 1


def test_a_compaction_is_no_news(home: Home) -> None:
    compacted(home, 0)
    with open_outbox(home.settings) as outbox:
        outbox._connection.execute("delete from queued_events")  # or it would hide a second look
    assert fill(home.settings, now) == 0


def test_a_compaction_hides_nothing_that_was_not_read_before(home: Home) -> None:
    compacted(home, 0)
    compacted(home, 100)  # together with what was read
    assert fill(home.settings, now) == LEAST_PARTS


def test_what_was_loaded_before_there_was_a_bus_is_history(home: Home) -> None:
    land(home, "a", trip_event(1))
    home.load()
    outbox_file(home.settings).unlink()  # a home of an earlier version
    land(home, "b", trip_event(2))
    home.load()
    assert [one["event_id"] for one in queued(home)] == ["t2"]


def test_an_outbox_in_the_making_is_none(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loaders.bus.outbox.commit", lambda *_: (_ for _ in ()).throw(OSError))
    with pytest.raises(Exception, match=r"outbox .* cannot be used"):
        begin_outbox(home.settings)
    assert not outbox_file(home.settings).exists()
    assert read_backlog(home.settings).waiting == 0
    monkeypatch.undo()
    land(home, "a", trip_event(1))
    home.load()
    assert len(queued(home)) == 1


def test_without_a_setting_it_stays_in_the_process(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = InProcessBus(kept=3)
    monkeypatch.setattr(buses, "in_process_bus", lambda: bus)
    land(home, "a", *(trip_event(number) for number in range(2)))
    home.load()
    publisher = Publisher(home.settings, now)
    publisher.publish()
    assert publisher.close().sent == 2
    messages, position = bus.read()
    assert [json.loads(one)["event_id"] for one in messages] == ["t0", "t1"]
    assert bus.read(position, wait_seconds=0.01) == ([], 2)
    land(home, "b", *(trip_event(number) for number in range(2, 7)))
    home.load()
    publisher = Publisher(home.settings, now)
    publisher.publish()
    publisher.close()
    newest, later = bus.read(position)
    assert [json.loads(one)["event_id"] for one in newest] == ["t4", "t5", "t6"]
    assert later - position == 5  # two were missed, and the positions say so


def test_an_erased_driver_waits_for_no_bus(home: Home) -> None:
    land(home, "a", trip_event(1, trip="mine"), trip_event(2, trip="other"))
    home.load()
    fill(home.settings, now)
    with open_vault(home.settings) as vault:
        (token,) = vault.known_tokens("driver-of-mine", ["driver"])
    assert token.encode() in outbox_file(home.settings).read_bytes()

    report = erase(home.settings, "driver-of-mine", now, domain="driver")

    assert (report.was_known, report.traces, report.messages) == (True, [], 1)
    assert token.encode() not in outbox_file(home.settings).read_bytes()
    assert [one["event_id"] for one in queued(home)] == ["t2"]
    assert home.keys(ENTITY) == ["t2"]
    with open_vault(home.settings) as vault:
        assert vault.known_tokens("driver-of-mine") == []
    land(home, "b", trip_event(3, trip="mine"))
    home.load()
    assert [one["event_id"] for one in queued(home)] == ["t2"]
    assert not erase(home.settings, "driver-of-other", now).was_known  # there is no such customer
    assert len(queued(home)) == 1


def test_an_erasure_of_a_driver_that_was_killed_is_finished_by_the_next(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(home, "a", trip_event(1, trip="mine"), trip_event(2, trip="other"))
    home.load()
    fill(home.settings, now)
    with open_vault(home.settings) as vault:
        (token,) = vault.known_tokens("driver-of-mine", ["driver"])

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    for step in ("erase_from_outbox", "prove", "scrub_vault"):
        with monkeypatch.context() as patch:
            patch.setattr(f"loaders.erasing.steps.{step}", killed)
            with pytest.raises(KeyboardInterrupt):
                erase(home.settings, "driver-of-mine", now, domain="driver")
    assert erase(home.settings, "driver-of-mine", now, domain="driver").traces == []
    assert token.encode() not in outbox_file(home.settings).read_bytes()
    assert [one["event_id"] for one in queued(home)] == ["t2"]
