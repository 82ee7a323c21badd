"""Tell a round as the delivery provider does: webhook bodies of the contract, some blemished."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa

from loaders.sample.arrays import Flags
from loaders.sample.records import MINUTE
from loaders.sample.rounds import Round

APPROACHES_METRES: Final = 800.0
DWELLS_MS: Final = 3 * MINUTE
# What the provider tells about one position, in this order, a millisecond each apart.
STARTED, UPDATED, EXITED, ENTERED, APPROACHING, ARRIVED, DWELLED, STOPPED = range(8)
TYPES: Final = (
    "user.started_trip",
    "user.updated_trip",
    "user.exited_geofence",
    "user.entered_geofence",
    "user.approaching_trip_destination",
    "user.arrived_at_trip_destination",
    "user.dwelled_in_geofence",
    "user.stopped_trip",
)
BLEMISHES: Final = ("zero", "empty", "jump", "out_of_range", "future", "no_id")
_SHARES: Final = np.cumsum([0.002, 0.002, 0.002, 0.001, 0.001, 0.004])
_SENT_TWICE: Final = 0.004
_JUMPS_DEGREES: Final = 0.6
_FUTURE_MS: Final = 400 * 86_400_000
_encode: Final = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Driver:
    """Know a driver by the provider's id and by ours."""

    user_id: str
    account_id: str


@dataclass
class Told:
    """Hold the lines of a day's webhooks with the moment of each, and what is wrong with some."""

    moments: list[int] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    blemished: list[dict[str, str]] = field(default_factory=list)

    def add(self, moment: int, line: str) -> None:
        """Add a line that was sent at a moment."""
        self.moments.append(moment)
        self.lines.append(line)

    def in_order(self) -> list[str]:
        """Return the lines in the order in which they were sent."""
        order = sorted(range(len(self.lines)), key=self.moments.__getitem__)
        return [self.lines[at] for at in order]


@dataclass(frozen=True)
class _Happening:
    kind: int
    position: int
    fence: int = -1


def _happenings(one: Round) -> list[list[_Happening]]:
    """Return what the provider concludes from each position."""
    near = one.fences.near(one.reported)
    held = one.fences.hold(near, one.reported)
    before = np.concatenate([np.zeros((1, near.size), dtype=np.bool_), held[:-1]])
    count = one.reported_ms.size
    found: list[list[_Happening]] = [[_Happening(UPDATED, at)] for at in range(count)]
    found[0][0] = _Happening(STARTED, 0)
    found[-1][0] = _Happening(STOPPED, count - 1)
    for kind, flags in ((EXITED, before & ~held), (ENTERED, held & ~before)):
        for at, column in zip(*np.nonzero(flags), strict=True):
            found[at].append(_Happening(kind, int(at), int(near[column])))
    for at, fence in _dwells(one, held):
        found[at].append(_Happening(DWELLED, at, int(near[fence])))
    left_before = np.append(one.corner_ms[0], one.left_ms[:-1])
    for stop, begins, arrives, leaves in zip(
        one.stops, left_before, one.arrived_ms, one.left_ms, strict=True
    ):
        away = np.hypot(*(one.reported - one.fences.centres[stop]).T)
        approaching = (one.reported_ms >= begins) & (one.reported_ms < arrives)
        stands = (one.reported_ms >= arrives) & (one.reported_ms <= leaves)
        for kind, flags in (
            (APPROACHING, approaching & (away <= APPROACHES_METRES)),
            (ARRIVED, stands),
        ):
            for at in np.flatnonzero(flags)[:1]:
                found[at].append(_Happening(kind, int(at), int(stop)))
    for happenings in found:
        happenings.sort(key=lambda one: (one.kind, one.fence))
    return found


def _dwells(one: Round, held: Flags) -> list[tuple[int, int]]:
    """Return position and column of each fence that a van has been in for three minutes."""
    found = []
    for column in np.flatnonzero(held.any(axis=0)):
        entered = -1
        for at, inside in enumerate(held[:, column]):
            if not inside:
                entered = -1
            elif entered < 0:
                entered, is_told = int(one.reported_ms[at]), False
            elif not is_told and one.reported_ms[at] - entered >= DWELLS_MS:
                found.append((at, int(column)))
                is_told = True
    return found


class Webhooks:
    """Write the bodies of a trip in one of the three shapes of the contract."""

    def __init__(self, one: Round, trip_id: str, driver: Driver, shape: str) -> None:
        self._round = one
        self._driver = driver
        self._shape = shape
        started = instant(int(one.reported_ms[0]))
        self._trip: dict[str, Any] = {
            "_id": trip_id,
            "externalId": f"{one.route_id}-{started[:10]}-{one.van + 1}",
            "createdAt": instant(int(one.reported_ms[0]) - 10 * MINUTE),
            "updatedAt": None,
            "MMUserId": driver.account_id,
            "startedAt": started,
            "metadata": {
                "route_session_type": "delivery",
                "route_session_id": f"{trip_id}-{one.route_id}",
            },
        }

    def tell(self, told: Told, rng: np.random.Generator) -> None:
        """Add the trip's lines; a few of its positions are wrong, a few lines are sent twice."""
        degrees = self._round.fences.plane.degrees(self._round.reported).tolist()
        draws = rng.random((2, len(degrees)))
        number = 0
        for at, happenings in enumerate(_happenings(self._round)):
            moment = int(self._round.reported_ms[at])
            wrong = int(np.searchsorted(_SHARES, draws[0, at], side="right"))
            # only mere reports are wrong: events agree with the positions that led to them
            blemish = (
                BLEMISHES[wrong]
                if wrong < len(BLEMISHES) and len(happenings) == 1 and happenings[0].kind == UPDATED
                else ""
            )
            events = []
            for one in happenings:
                number += 1
                event_id = f"{self._trip['_id']}{number:04x}"
                events.append(self._event(one, event_id, moment + one.kind, degrees[at], blemish))
                if blemish:
                    told.blemished.append({"event_id": event_id, "blemish": blemish})
            for line in self._bodies(events):
                told.add(moment, line)
                if draws[1, at] < _SENT_TWICE:
                    told.add(moment + 20_000, line)

    def _event(
        self, one: _Happening, event_id: str, moment: int, position: list[float], blemish: str
    ) -> dict[str, Any]:
        if blemish == "future":
            moment += _FUTURE_MS
        event: dict[str, Any] = {
            "_id": event_id,
            "createdAt": instant(moment),
            "live": True,
            "type": TYPES[one.kind],
            "location": {"type": "Point", "coordinates": _coordinates(position, blemish)},
        }
        if one.fence >= 0:
            geofence_id = self._round.fences.geofence_ids[one.fence]
            event["geofence"] = {
                "_id": geofence_id,
                "externalId": geofence_id,
                "description": self._round.fences.names[one.fence],
            }
        if blemish == "no_id":
            del event["_id"]
        return event

    def _bodies(self, events: list[dict[str, Any]]) -> list[str]:
        if self._shape == "flat":
            return [_text(self._flat(event)) for event in events]
        trip = self._trip | {"updatedAt": events[-1]["createdAt"]}
        user = {"_id": self._driver.user_id, "MMUserId": self._driver.account_id, "trip": trip}
        if self._shape == "several":
            return [_text({"events": events, "user": user})]
        return [_text({"event": event | {"user": user}}) for event in events]

    def _flat(self, event: dict[str, Any]) -> dict[str, Any]:
        longitude, latitude = event["location"]["coordinates"]
        body = {
            "id": event.get("_id"),
            "created_at": event["createdAt"],
            "live": "TRUE",
            "type": event["type"],
            "_id": self._driver.user_id,
            "MMUserId": self._driver.account_id,
            "location": {
                "type": "Point",
                "coordinates": {"longitude": str(longitude), "latitude": str(latitude)},
            },
            "trip": self._trip | {"updatedAt": event["createdAt"]},
        }
        if "geofence" in event:
            body["geofence"] = event["geofence"]
        return {name: value for name, value in body.items() if value is not None}


def _coordinates(position: list[float], blemish: str) -> list[float] | list[str]:
    longitude, latitude = position
    match blemish:
        case "zero":
            return [0.0, 0.0]
        case "empty":
            return ["", ""]
        case "jump":
            return [longitude + _JUMPS_DEGREES, latitude - _JUMPS_DEGREES]
        case "out_of_range":
            return [longitude - 360.0, latitude + 90.0]
        case _:
            return [longitude, latitude]


def _text(body: dict[str, Any]) -> str:
    return _encode(body).decode()


def instant(utc_ms: int) -> str:
    """Return an instant in ISO 8601."""
    seconds, milliseconds = divmod(utc_ms, 1000)
    return f"{np.datetime64(seconds, 's')}.{milliseconds:03d}Z"


def instants(utc_ms: list[int]) -> pa.Array:
    """Return instants as a column; -1 is absent."""
    return pa.array([None if one < 0 else one for one in utc_ms], pa.timestamp("ms"))
