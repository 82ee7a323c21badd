"""Seconds from an event's acknowledgement to its first sight in `larder query --live`.

    python -m benchmarks.live

A sample network is built. Then, with the collector and `larder load --follow` running, an event a
second is sent over HTTP, while one `larder query --live` after the other looks for it: first with
nothing else, then beside `larder run`, which loads, builds and tests again and again, at the
priority that its systemd unit gives it. All are processes of their own, as at a user's. An event is
seen when the answer of a query that has it is whole; one that the build has published since counts,
too. Target: each within 10 s, on two cores that nobody else uses, from when the loader has prepared
schema `live`, once a version; how long that takes is told.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path

from benchmarks.collector import free_port
from benchmarks.crashes import command, environment, run
from benchmarks.homes import make_home, settings_of
from benchmarks.hourly import set_last_day_aside
from larder.settings import Settings
from loaders.sample.network import SampleOptions

MOST_SECONDS = 10.0
NICE = 10  # as deploy/schedule/larder.service has it
# What is sent last has to be seen, too; nobody waits longer than this for it.
PATIENCE_SECONDS = 120.0
SEEN = "select event_id from {table} where starts_with(event_id, 'seen-')"


@dataclass
class Phase:
    """Hold when each event was acknowledged and first seen, and what the queries took."""

    name: str
    sent: dict[str, float] = field(default_factory=dict)
    seen: dict[str, float] = field(default_factory=dict)
    queries: list[float] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def waits(self) -> list[float]:
        """Return the seconds that each event took, smallest first; infinite: never seen."""
        return sorted(self.seen.get(one, float("inf")) - at for one, at in self.sent.items())


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both phases, and fail where an event was seen later than the target."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--events", type=int, default=60, help="in each phase, one a second")
    parser.add_argument("--days", type=int, default=200, help="of the sample network")
    parser.add_argument("--home", type=Path, help="one that has been built, and is kept")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="larder-live-") as folder:
        settings = _prepare(options.home or Path(folder) / "home", options.days)
        port = free_port()
        with _running(settings, "collect", "--port", str(port)), _following(settings):
            alone = _measure(settings, port, Phase("alone"), options.events)
            _print(alone)
            with _building(settings) as runs:
                beside = _measure(settings, port, Phase("beside builds"), options.events)
            _print(beside)
            print(f"larder run beside them: {', '.join(f'{one:.0f} s' for one in runs)}")
    late = [wait for phase in (alone, beside) for wait in phase.waits() if wait > MOST_SECONDS]
    if late:
        sys.exit(f"missed: {len(late)} events were seen later than {MOST_SECONDS:g} s")


def _prepare(folder: Path, days: int) -> Settings:
    """Build all but the last day, which the first of the builds to come takes in."""
    if folder.exists():
        return settings_of(folder)
    settings = make_home(folder, SampleOptions(days=days))
    set_last_day_aside(settings)
    started = time.monotonic()
    run(settings)
    print(f"the first larder run took {time.monotonic() - started:.0f} s", flush=True)
    return settings


@contextmanager
def _running(settings: Settings, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command that stays, until the block ends."""
    process = subprocess.Popen(
        [command()[0], *words],
        cwd=settings.home,
        env=environment(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


@contextmanager
def _following(settings: Settings) -> Iterator[None]:
    """Load what arrives; begins when it does, and all is prepared."""
    with _running(settings, "load", "--follow") as follower:
        assert follower.stdout is not None
        follower.stdout.readline()
        threading.Thread(target=follower.stdout.read, daemon=True).start()
        started = time.monotonic()
        while not (settings.live_folder / "models.json").exists():
            time.sleep(0.1)
        print(f"schema live was prepared in {time.monotonic() - started:.0f} s", flush=True)
        yield


@contextmanager
def _building(settings: Settings) -> Iterator[list[float]]:
    """Run `larder run` one after the other until the block ends; gives the seconds of each."""
    seconds: list[float] = []
    ended = threading.Event()
    for late in (settings.home / "late").glob("*"):
        late.replace(settings.landing_folder / "fridge" / "stock_events" / late.name)

    def go_on() -> None:
        while not ended.is_set():
            started = time.monotonic()
            run(settings, NICE)
            seconds.append(time.monotonic() - started)

    builder = threading.Thread(target=go_on)
    builder.start()
    try:
        yield seconds
    finally:
        ended.set()
        builder.join()


def _measure(settings: Settings, port: int, phase: Phase, events: int) -> Phase:
    """Send an event a second and look until all are seen."""
    sender = threading.Thread(target=_send, args=(port, phase, events))
    sender.start()
    until = time.monotonic() + events + PATIENCE_SECONDS
    while sender.is_alive() or phase.sent.keys() - phase.seen.keys():
        if time.monotonic() > until:
            break
        started = time.monotonic()
        found = _ask(settings)
        answered = time.monotonic()
        phase.queries.append(answered - started)
        for event_id in found & phase.sent.keys():
            phase.seen.setdefault(event_id, answered)
    sender.join()
    return phase


def _send(port: int, phase: Phase, events: int) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    start = time.monotonic()
    for number in range(events):
        time.sleep(max(0.0, start + number - time.monotonic()))
        event_id = f"seen-{phase.name.replace(' ', '-')}-{os.getpid()}-{number}"
        connection.request(
            "POST",
            "/v1/trips/webhook",
            json.dumps(_update(event_id)),
            {"Content-Type": "application/json"},
        )
        answer = connection.getresponse()
        if answer.read() != b'{"accepted":1,"rejected":0}':
            raise RuntimeError(f"the collector answered {answer.status}")
        phase.sent[event_id] = time.monotonic()


def _update(event_id: str) -> dict[str, object]:
    moment = datetime.now(UTC).isoformat()
    return {
        "event": {
            "_id": event_id,
            "createdAt": moment,
            "type": "user.updated_trip",
            "location": {"type": "Point", "coordinates": [-120.23, 36.92]},
            "user": {"_id": "van-1", "trip": {"_id": "round-1", "createdAt": moment}},
        }
    }


def _ask(settings: Settings) -> set[str]:
    """Return the events that a user sees, in `live` or published since."""
    tables = ("live.trip_events", "fct_trip_events")
    answered = subprocess.run(
        [
            command()[0],
            *("query", "--live", " union ".join(SEEN.format(table=one) for one in tables)),
            *("--format", "csv"),
        ],
        cwd=settings.home,
        env=environment(settings),
        capture_output=True,
        text=True,
        check=True,
    )
    return set(answered.stdout.split()[1:])


def _print(phase: Phase) -> None:
    waits = phase.waits()
    print(
        f"{phase.name}: {len(waits)} events, seen after p50 {statistics.median(waits):.1f} s, "
        f"p95 {waits[int(len(waits) * 0.95)]:.1f} s, longest {waits[-1]:.1f} s "
        f"(≤ {MOST_SECONDS:g}); {len(phase.queries)} queries, the first "
        f"{phase.queries[0]:.1f} s, p50 {statistics.median(phase.queries):.1f} s, longest "
        f"{max(phase.queries):.1f} s; load average {os.getloadavg()[0]:.1f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
