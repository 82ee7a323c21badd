"""How the bus stands, for people, programs and Prometheus; and in a backup."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from backed_homes import settings_in
from kinesis_stream import FaultyKinesis, Stream, kinesis_endpoint, land, trip_event
from landing_zone import Home, now
from warehouse_homes import refused_larder, run_larder, settings_of

from larder.backup.restoring import restore
from larder.backup.taking import back_up
from larder.cli.group import DONE, WRONG_USE
from larder.metrics import metrics_file
from larder.metrics.textfile import read_samples
from larder.settings import Settings
from loaders.bus import Publisher, read_backlog
from loaders.bus.filling import fill
from loaders.bus.outbox import outbox_file
from loaders.erasing import erase, erase_buried
from loaders.vault import open_vault

FOLLOW = "import sys; sys.argv = ['larder', 'load', '--follow']; import larder.cli as c; c.main()"
SECONDS = 60.0


@pytest.fixture(scope="module")
def endpoint() -> Iterator[FaultyKinesis]:
    with kinesis_endpoint() as served:
        yield served


def samples(settings: Settings, name: str) -> float | None:
    """Return the value of a metric of the bus, null where it is not there."""
    return read_samples(metrics_file(settings)).get(f"larder_bus_{name}", {}).get(())


def test_a_load_and_the_status_say_what_went_and_what_waits(
    tmp_path: Path, endpoint: FaultyKinesis
) -> None:
    stream = Stream(endpoint).make()
    path, bus = tmp_path / "warehouse", f"kinesis://{stream.name}"
    home = Home(settings_of(path))
    land(home, "a", *(trip_event(number) for number in range(3)))
    loaded = run_larder(path, "load", LARDER_BUS=bus)
    assert (loaded.returncode, "event bus: 3 messages sent, 0 wait." in loaded.stdout) == (DONE, 1)
    assert stream.events() == ["t0", "t1", "t2"]
    told = read_samples(metrics_file(home.settings))
    assert told["larder_bus_sent_messages_total"] == {(): 3.0}
    assert told["larder_bus_waiting_messages"] == {(): 0.0}
    assert "larder_bus_oldest_waiting_timestamp_seconds" not in told

    endpoint.stop()
    try:
        land(home, "b", trip_event(3))
        loaded = run_larder(path, "load", LARDER_BUS=bus)
        status = run_larder(path, "status", LARDER_BUS=bus)
        answer = run_larder(path, "status", "--json", LARDER_BUS=bus)
    finally:
        endpoint.start()
    assert loaded.returncode == DONE
    (failed,) = [one for one in loaded.stdout.splitlines() if "cannot be reached" in one]
    assert "LARDER_BUS" in failed
    assert "nothing is lost" in failed
    assert f"{bus}; 3 messages sent" in status.stdout
    assert "1 messages since" in status.stdout
    stands = json.loads(answer.stdout)["bus"]
    assert (stands["place"], stands["waiting"], stands["sent"]) == (bus, 1, 3)
    assert stands["oldest_waiting_at"] > stands["last_sent_at"]
    assert "cannot be reached" in stands["failure"]
    assert samples(home.settings, "waiting_messages") == 1
    oldest = samples(home.settings, "oldest_waiting_timestamp_seconds")
    assert oldest and time.time() - SECONDS < oldest < time.time()
    assert samples(home.settings, "failures_total")

    assert run_larder(path, "load", LARDER_BUS=bus).returncode == DONE
    assert stream.events() == ["t0", "t1", "t2", "t3"]
    assert samples(home.settings, "oldest_waiting_timestamp_seconds") is None


def test_a_driver_is_erased_by_a_command(tmp_path: Path) -> None:
    home = Home(settings_of(tmp_path / "warehouse"))
    land(home, "a", trip_event(1, trip="mine"), trip_event(2, trip="other"))
    home.load()
    fill(home.settings, now)
    erased = run_larder(home.settings.home, "erase", "--driver", "driver-of-mine")
    assert erased.returncode == DONE, erased.stderr
    assert "1 messages that waited for the event bus were removed" in erased.stdout
    assert "no trace is left" in erased.stdout
    assert home.keys("trips/trip_events") == ["t2"]
    assert read_backlog(home.settings).waiting == 1


def test_following_sends_and_tells_while_it_runs(tmp_path: Path, endpoint: FaultyKinesis) -> None:
    stream = Stream(endpoint).make()
    home = Home(settings_of(tmp_path / "warehouse"))
    home.settings.landing_folder.mkdir(parents=True)
    process = subprocess.Popen(
        [sys.executable, "-c", FOLLOW],
        env={
            **os.environ,
            "LARDER_HOME": str(home.settings.home),
            "LARDER_KEY_FILE": str(home.settings.key_file),
            "LARDER_BUS": f"kinesis://{stream.name}",
        },
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        land(home, "a", trip_event(1))
        end = time.monotonic() + SECONDS
        while samples(home.settings, "sent_messages_total") != 1 and time.monotonic() < end:
            time.sleep(0.1)
    finally:
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=SECONDS)[0]
    assert stream.events() == ["t1"]
    assert samples(home.settings, "sent_messages_total") == 1
    assert process.returncode == DONE
    assert "1 files loaded" in said


@pytest.mark.parametrize("bus", ["kinesis://", "kinesis://a/b", "sns://topic", "trips"])
def test_a_bus_that_is_none_is_refused_in_a_line(tmp_path: Path, bus: str) -> None:
    refused = refused_larder(tmp_path / "warehouse", "status", LARDER_BUS=bus)
    assert refused.returncode == WRONG_USE
    assert "LARDER_BUS" in refused.stderr
    assert "kinesis://trip-events" in refused.stderr


def test_a_restore_sends_what_waited_and_nothing_that_was_sent(
    tmp_path: Path, endpoint: FaultyKinesis
) -> None:
    stream = Stream(endpoint).make()
    bus = {"bus": f"kinesis://{stream.name}"}
    settings = settings_in(tmp_path).model_copy(update=bus)
    home = Home(settings)
    land(home, "a", trip_event(1))
    home.load()
    fill(settings, now)
    Publisher(settings, now).close()
    land(home, "b", trip_event(2))
    home.load()
    fill(settings, now)
    back_up(settings, now)
    Publisher(settings, now).close()
    assert stream.events() == ["t1", "t2"]

    restored = settings.model_copy(update={"home": tmp_path / "empty"})
    restore(restored, now)
    assert outbox_file(restored).stat().st_mode & 0o777 == 0o600
    assert read_backlog(restored).waiting == 1
    Home(restored).load()
    publisher = Publisher(restored, now)
    publisher.publish()
    assert publisher.close().sent == 1
    assert [record["event_id"] for record in stream.records()] == ["t1", "t2", "t2"]


def test_who_was_erased_waits_for_the_bus_in_no_restored_home(tmp_path: Path) -> None:
    settings = settings_in(tmp_path / "now")
    home = Home(settings)
    land(home, "a", trip_event(1, trip="mine"), trip_event(2, trip="other"))
    home.load()
    fill(settings, now)
    shutil.copytree(tmp_path / "now", tmp_path / "then")  # as a backup has it
    before = settings_in(tmp_path / "then")
    assert read_backlog(before).waiting == 2
    with open_vault(before) as vault:
        (token,) = vault.known_tokens("driver-of-mine", ["driver"])
    erase(settings, "driver-of-mine", now, domain="driver")
    with open_vault(settings) as vault:
        tombstones = vault.tombstones()

    report = erase_buried(before, tombstones, now)

    assert (report.traces, report.messages) == ([], 1)
    assert token.encode() not in outbox_file(before).read_bytes()
    assert read_backlog(before).waiting == 1
