"""Vans and geofences of a test's network, with every kind of trouble that positions have."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

Record = dict[str, Any]

TRIPS, POSITIONS = 14, 24
YARD = (40.0, -70.0)
# At most 30 s apart and 0.001 degrees (111 m north), so a van drives up to 17 km/h.
STEP_DEGREES, STEP_SECONDS = 0.001, 30
TYPES = [
    *["user.updated_trip"] * 6,
    "user.entered_geofence",
    "user.dwelled_in_geofence",
    "user.exited_geofence",
]


def instant(moment: datetime) -> str:
    """Write an instant as the provider does."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def trip_events(chance: random.Random, first_day: datetime) -> list[Record]:
    """Return webhook bodies in all shapes: blemished, sent twice, under other ids, in conflict."""
    events = [event for number in range(TRIPS) for event in _trip(chance, first_day, number)]
    same = chance.sample(events, len(events) // 8)
    renamed = [event | {"id": f"{event['id']}-again"} for event in chance.sample(events, 12)]
    contested = [event | _change(chance, event) for event in chance.sample(events, 30)]
    bodies = [_body(chance, event) for event in [*events, *renamed, *contested]]
    # sent again as they were: another shape would be another content
    return [*bodies, *(bodies[events.index(event)] for event in same)]


def _trip(chance: random.Random, first_day: datetime, number: int) -> list[Record]:
    started = first_day + timedelta(hours=chance.randrange(100))
    latitude, longitude = YARD
    at = started
    events = []
    for step in range(POSITIONS):
        at += timedelta(seconds=chance.choice([STEP_SECONDS, STEP_SECONDS, 0, 700]))
        latitude += chance.uniform(-STEP_DEGREES, STEP_DEGREES)
        longitude += chance.uniform(-STEP_DEGREES, STEP_DEGREES)
        kind = chance.choice(TYPES)
        event: Record = {
            "id": f"trip-{number}-{step}",
            "at": at,
            "type": "user.stopped_trip" if step == POSITIONS - 2 and number % 2 else kind,
            "place": (round(latitude, 6), round(longitude, 6)),
            "trip_id": None if number == 0 else f"trip-{number}",
            "started_at": None if number == 0 else started,
            "driver": f"d{number % 3}" if chance.random() < 0.9 else None,
            "geofence": chance.choice([None, None, "fence-0", "fence-unknown"]),
        }
        events.append(event | _blemish(chance, event))
    return events


def _blemish(chance: random.Random, event: Record) -> Record:
    latitude, longitude = event["place"]
    return chance.choice(
        [
            *[{}] * 12,
            {"place": (0, 0)},
            {"place": ("", "")},
            {"place": (latitude + 80, longitude)},
            {"place": (latitude + 0.5, longitude)},
            {"at": event["at"] + timedelta(days=30000)},
            {"at": event["at"] - timedelta(days=1)},
            {"id": ""},
            {"id": "", "place": (999_999_999_999, -999_999_999_999)},
        ]
    )


def _change(chance: random.Random, event: Record) -> Record:
    return chance.choice(
        [
            {"trip_id": f"trip-{chance.randrange(TRIPS + 1)}"},
            {"trip_id": f"trip-only-{event['id']}"},
            {"place": YARD},
            {"at": event["at"] + timedelta(minutes=3)},
            {"driver": "d9"},
            {"type": "user.stopped_trip"},
        ]
    )


def _body(chance: random.Random, event: Record) -> Record:
    latitude, longitude = event["place"]
    trip = {
        "_id": event["trip_id"],
        "MMUserId": f"account of {event['driver']}",
        "startedAt": event["started_at"] and instant(event["started_at"]),
    }
    common = {"type": event["type"], "geofence": {"externalId": event["geofence"]}}
    match chance.choice(["flat", "nested", "several"]):
        case "flat":
            place = {"latitude": str(latitude), "longitude": str(longitude)}
            return common | {
                "id": event["id"], "created_at": instant(event["at"]), "live": "TRUE",
                "_id": event["driver"], "location": {"coordinates": place}, "trip": trip,
            }  # fmt: skip
        case shape:
            user = {"_id": event["driver"], "trip": trip}
            nested = common | {
                "_id": event["id"], "createdAt": instant(event["at"]),
                "location": {"coordinates": [longitude, latitude]},
            }  # fmt: skip
            if shape == "nested":
                return {"event": nested | {"user": user}}
            return {"events": [nested], "user": user}


def geofences(chance: random.Random, first_day: datetime) -> list[Record]:
    """Return circles and polygons that move, change shape, are deleted and come in conflict."""
    records: list[Record] = []
    for number in range(5):
        for version in range(3):
            north, east = (place + chance.uniform(-0.003, 0.003) for place in YARD)
            corners = [[east, north], [east + 0.004, north], [east, north + 0.004]]
            record: Record = {
                "geofence_id": f"fence-{number}",
                "geofence_name": f"Fence {version}",
                "location_id": chance.choice([None, "fridge-east"]),
                "is_deleted": chance.random() < 0.2,
                # two versions at one moment are in conflict
                "updated_at": instant(first_day + timedelta(hours=50 * (version // 2))),
            }
            shape: Record = chance.choice(
                [
                    {"centre": [east, north], "radius_metres": 200},
                    {"polygon": {"type": "Polygon", "coordinates": [corners]}},
                    {"polygon": {"type": "MultiPolygon", "coordinates": [[corners], [corners]]}},
                    {"polygon": {"type": "Nonsense"}},
                ]
            )
            records.append(record | shape)
    return [*records, *chance.sample(records, 2)]
