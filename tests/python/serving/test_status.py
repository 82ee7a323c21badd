from __future__ import annotations

import dataclasses
import json
import os
from datetime import timedelta
from pathlib import Path

from serving_processes import NOW, build_marts, settings_for

from larder.lock import run_lock
from larder.serving.publish import publish, rollback
from larder.serving.status import LandingState, status


def test_an_empty_home_has_a_status(tmp_path: Path) -> None:
    found = status(settings_for(tmp_path / "not" / "there"))
    assert (found.published, found.running, found.earlier_generations) == (None, None, ())
    assert set(found.size_bytes.values()) == {0}
    json.dumps(found.to_dict())


def test_status_says_what_is_published_and_who_runs(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    build_marts(settings, 1, 100)
    names = [publish(settings, NOW + timedelta(hours=hour)).generation for hour in range(3)]
    rollback(settings)
    (settings.landing_folder).mkdir()
    (settings.landing_folder / "events.ndjson").write_bytes(b"12345")

    with run_lock(settings, "run"):
        found = status(settings)

    assert found.published is not None
    assert found.published.generation == names[1]
    assert found.earlier_generations == (names[0],)
    assert found.withdrawn_generations == (names[2],)
    assert found.running is not None
    assert (found.running.pid, found.running.command) == (os.getpid(), "run")
    assert found.size_bytes["landing"] == 5
    assert found.size_bytes["generations"] >= 3 * found.published.size_bytes
    assert status(settings).running is None

    filled = dataclasses.replace(found, landing=LandingState("events.ndjson", NOW, 1))
    told = json.loads(json.dumps(filled.to_dict()))
    assert told["published"]["published_at"] == "2019-04-30T23:00:00+00:00"
    assert told["published"]["tables"][0] == {"name": "fct_sales", "rows": 100}
    assert told["landing"]["newest_at"] == NOW.isoformat()
    assert told["running"]["command"] == "run"


def test_a_link_to_a_generation_that_is_gone_is_not_published(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    settings.published_database.symlink_to("generations/20190430T220000000000Z-0000/larder.duckdb")
    assert status(settings).published is None
