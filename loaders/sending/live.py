"""Send the sample network's vans and guests to a collector as if all happened now."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from heapq import merge
from itertools import count
from pathlib import Path
from typing import Any, Final

import msgspec

from larder.stopping import Stopping
from loaders.entities import Entity
from loaders.landing import LandingFile, find_files
from loaders.sending.client import Client, SendingError
from loaders.sending.pacing import Due, Sender, Sending
from loaders.sending.records import LeftOut, batches_of

_ENTITIES: Final = ("trips/trip_events", "menu/menu_events")
_DAYS: Final = 7
_LONGEST_PAUSE: Final = 60.0
"""A van reports at least once a minute, so no van is cut short: only nights and idle hours are."""
_CLOCK_AHEAD: Final = 6 * 3600.0
_MOMENTS: Final = ("occurred_at", "created_at", "createdAt", "updatedAt", "startedAt")
_encode: Final = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Step:
    """Hold a record, when it is sent in seconds of the stream, and how far its clock is off it."""

    seconds: float
    entity: Entity
    record: dict[str, Any]
    moment: datetime
    off: timedelta


def read_live(landing: Path) -> list[list[Step]]:
    """Read the newest week of a sample's trips and menu clicks from its landing files.

    Raises:
        SendingError: there are none.
    """
    streams = [_steps(files) for files in _newest_files(landing) if files]
    if not streams:
        raise SendingError(
            f"The sample network in {landing} has no trips to send. Write one with --recent-days "
            "of 1 or more into another LARDER_HOME."
        )
    return streams


def send_live(
    streams: list[list[Step]],
    client: Client,
    speed: float,
    seconds: float | None,
    now: Callable[[], datetime],
    stopping: Stopping,
) -> Sending:
    """Send a sample's trips and menu clicks, again and again, until told.

    Both begin at once, and idle hours are left out. Each record is stamped with the moment at which
    it is sent. Faster than real time the stream begins in the past, so that it reaches the present
    after `seconds` (or one pass), and goes on in real time.

    Raises:
        SendingError: the collector cannot be reached.
    """
    client.require_collector()
    began = now()
    horizon = (seconds * speed) if seconds is not None else max(one[-1].seconds for one in streams)
    start = began - timedelta(seconds=horizon * (1 - 1 / speed))
    mark = f"{int(began.timestamp()):x}"
    dues = merge(
        *(_again_and_again(steps, start, mark) for steps in streams), key=lambda due: due.seconds
    )
    sender = Sender(client, stopping)
    sender.send(_until(_paced(dues, speed, horizon), seconds))
    return Sending(sender.sent, 0, is_whole=True)


def _newest_files(landing: Path) -> list[list[LandingFile]]:
    """Return the files of the newest days of each entity, without what came late."""
    found: dict[str, list[LandingFile]] = {path: [] for path in _ENTITIES}
    for file in find_files(landing):
        path = file.entity.path if file.entity else ""
        name = file.path.name.partition(".")[0]
        is_day = len(name) == len("2019-04-30") and file.relative.count("/") == 2
        if path in found and is_day:
            found[path].append(file)
    return [sorted(files, key=lambda file: file.path.name)[-_DAYS:] for files in found.values()]


def _steps(files: list[LandingFile]) -> list[Step]:
    """Return what is to be sent of an entity, in the order in which it came."""
    steps: list[Step] = []
    seconds = 0.0
    for file in files:
        assert file.entity is not None
        running: datetime | None = None
        lines = (line for batch in batches_of(file, LeftOut()) for line in batch)
        for record in map(msgspec.json.decode, lines):
            moment = _moment(record)
            gap = (moment - running).total_seconds() if running else _LONGEST_PAUSE
            if running is None or 0 < gap < _CLOCK_AHEAD:
                seconds += min(gap, _LONGEST_PAUSE) if steps else 0.0
                running = moment
            steps.append(Step(seconds, file.entity, record, moment, moment - running))
    return steps


def _moment(record: dict[str, Any]) -> datetime:
    event = record.get("event", record)
    text = event.get("occurred_at") or event.get("created_at") or event["createdAt"]
    return _parsed(str(text))


def _parsed(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _again_and_again(steps: list[Step], start: datetime, mark: str) -> Iterator[Due]:
    """Give each record its new moment and, in every pass, ids of its own."""
    lasts = steps[-1].seconds + _LONGEST_PAUSE
    for number in count():
        for step in steps:
            seconds = number * lasts + step.seconds
            shift = start + timedelta(seconds=seconds) + step.off - step.moment
            record = _as_if_now(step.record, shift, f"{mark}{number:x}")
            yield Due(seconds, step.entity, _encode(record))


def _paced(dues: Iterator[Due], speed: float, horizon: float) -> Iterator[Due]:
    for due in dues:
        late = max(due.seconds - horizon, 0.0)
        yield due._replace(seconds=(due.seconds - late) / speed + late)


def _until(dues: Iterator[Due], seconds: float | None) -> Iterator[Due]:
    for due in dues:
        if seconds is not None and due.seconds > seconds:
            return
        yield due


def _as_if_now(record: dict[str, Any], shift: timedelta, mark: str) -> dict[str, Any]:
    """Return a record of any of the shapes, moved in time, under other ids of event and trip."""
    moved: dict[str, Any] = _shifted(record, shift)
    event = moved.get("event", moved)
    for name in ("event_id", "id") if event is moved else ("_id",):
        if name in event:
            event[name] = f"{event[name]}{mark}"
    user = event.get("user") or moved.get("user") or moved
    trip = user.get("trip")
    if trip:
        for name in ("_id", "externalId"):
            trip[name] = f"{trip[name]}{mark}"
    return moved


def _shifted(value: Any, shift: timedelta) -> Any:
    if not isinstance(value, dict):
        return value
    return {
        name: _later(inner, shift) if name in _MOMENTS else _shifted(inner, shift)
        for name, inner in value.items()
    }


def _later(text: str, shift: timedelta) -> str:
    moment = (_parsed(text) + shift).astimezone(UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
