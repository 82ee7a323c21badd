"""Schema `live`: what no published build has yet, typed and anonymised, whatever runs beside it."""

from __future__ import annotations

import json
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from collecting import menu_event, running, trip_event
from landing_zone import NOW, Home, decide, event, line, make_home
from warehouse_homes import following, run_larder

from larder.errors import SettingsError, WarehouseError
from larder.live import Live, remember_contained
from larder.live_models import live_models
from larder.serving.publish import list_generations, publish, rollback
from larder.serving.reading import run_query
from larder.settings import Settings
from loaders.audit.verdicts import segment_names
from loaders.bus.messages import read_messages
from loaders.compaction import LEAST_PARTS, compact
from loaders.segments import segment_rows

STOCK = "fridge/stock_events"
EVENTS = "select event_id from live.stock_events order by all"
PERSON = "customer-anna"


@pytest.fixture
def home(compiled_live: Path, tmp_path: Path) -> Home:
    made = make_home(tmp_path)
    shutil.copytree(compiled_live, made.settings.live_folder)
    return made


def arrive(home: Home, *numbers: int, **more: Any) -> None:
    """Let events arrive in a file of their own, and load it."""
    lines = b"".join(line(event(number, **more)) for number in numbers)
    home.land(f"{STOCK}/{'-'.join(map(str, numbers))}.ndjson", lines)
    home.load()


def build_and_publish(home: Home, after_hours: int = 0) -> str:
    """Build by hand what a build makes of all segments, and publish it; return the generation."""
    raw = home.settings.raw_folder
    segments = [path.relative_to(raw).as_posix() for path in sorted(raw.glob("*/*/*/*.parquet"))]
    with duckdb.connect(str(home.settings.build_database)) as connection:
        connection.execute("create schema if not exists raw; create schema if not exists marts")
        connection.execute("create or replace table raw.segments (segment varchar)")
        connection.executemany("insert into raw.segments values (?)", [[one] for one in segments])
        connection.execute("create or replace table marts.fct_sales as select 'l1' as location_id")
    generation = publish(home.settings, NOW + timedelta(hours=after_hours)).generation
    remember_contained(home.settings, generation, list_generations(home.settings))
    return generation


def ask(home: Home, sql: str = EVENTS) -> list[tuple[Any, ...]]:
    return run_query(home.settings, sql, fill=Live(home.settings, sql).fill).rows


def events(home: Home) -> list[str]:
    return [event_id for (event_id,) in ask(home)]


def test_what_is_published_is_not_live_any_more(home: Home) -> None:
    arrive(home, 1, 2)
    assert events(home) == ["e1", "e2"]  # nothing is published yet
    build_and_publish(home)
    assert events(home) == []
    arrive(home, 3)
    assert events(home) == ["e3"]
    assert ask(
        home, "select fct_sales.location_id, event_id from fct_sales, live.stock_events"
    ) == [("l1", "e3")]


def test_events_are_typed_and_people_are_tokens(home: Home) -> None:
    arrive(home, 1, quantity="2.5", is_promoted="TRUE", customer_id=PERSON)
    ((moment, quantity, is_promoted, customer_key),) = ask(
        home,
        "select occurred_at, quantity, is_promoted, customer_key from live.stock_events",
    )
    assert (str(moment), quantity, is_promoted) == ("2024-05-30 10:00:00", 2.5, True)
    assert len(customer_key) == 32


@pytest.mark.parametrize(
    "sql",
    [
        "select payload from build.raw.fridge_stock_events",
        "select * from build.staging.stg_fridge__stock_events",
        "select content_hash from live.stock_events",
        "from read_parquet('{raw}/*/*/*/*.parquet')",
        "from read_text('{landing}/*/*/*.ndjson')",
        "attach '{home}/build.duckdb' as other",
        "set enable_external_access = true",
    ],
)
def test_nothing_behind_it_can_be_reached(home: Home, sql: str) -> None:
    arrive(home, 1, customer_id=PERSON)
    build_and_publish(home)
    arrive(home, 2, customer_id=PERSON)
    settings = home.settings
    filled = sql.format(
        raw=settings.raw_folder, landing=settings.landing_folder, home=settings.home
    )
    with pytest.raises(WarehouseError):
        ask(home, filled)


def test_no_column_of_any_table_tells_who_somebody_is(home: Home) -> None:
    arrive(home, 1, customer_id=PERSON)
    home.land("trips/trip_events/a.ndjson", line(trip_event(1, user={"_id": PERSON})))
    home.land("menu/menu_events/a.ndjson", line(menu_event(1, visitor_id=PERSON)))
    home.load()
    tables = ask(home, "select table_name from information_schema.tables where table_schema='live'")
    assert ("stock_events",) in tables
    for (table,) in tables:
        rows = ask(home, f"select * from live.{table}")
        assert len(rows) == 1
        assert PERSON not in str(rows)


def test_a_driver_in_another_field_is_a_token_in_the_tables_and_on_the_bus_alike(
    home: Home,
) -> None:
    sent = trip_event(
        1,
        _id=f"{PERSON}/17",
        type="user.stopped_trip",
        user={
            "_id": PERSON,
            "MMUserId": "a",  # as tokens have it, too
            "trip": {"_id": f"round-{PERSON}-a", "externalId": f"{PERSON}s a1", "MMUserId": "a"},
        },
        geofence={"_id": f'home "{PERSON}"\\x'},
    )
    home.land("trips/trip_events/a.ndjson", line(sent))
    home.load()
    fields = ("event_id", "trip_id", "trip_external_id", "geofence_id")
    (row,) = ask(home, f"select {', '.join(fields)} from live.trip_events")
    ((driver, account),) = ask(home, "select driver_key, account_key from live.trip_events")
    assert row == (
        f"{driver}/17",
        f"round-{driver}-{account}",
        f"{PERSON}s a1",  # other words, of which ids are a part
        f'home "{driver}"\\x',
    )
    segments = list((home.settings.raw_folder / "trips/trip_events").rglob("*.parquet"))
    with duckdb.connect() as connection:
        (message,) = read_messages(connection, segments, lambda content: content.hex())
    assert tuple(json.loads(message.body)[field] for field in fields) == row


def test_an_audit_marks_and_keeps_out(home: Home) -> None:
    arrive(home, 1)
    assert ask(home, "select event_id, is_audited from live.stock_events") == [("e1", False)]
    decide(home, "accepted")
    assert ask(home, "select event_id, is_audited from live.stock_events") == [("e1", True)]
    decide(home, "held")
    assert events(home) == []


def test_a_conflict_shows_the_copy_that_will_win(home: Home) -> None:
    arrive(home, 1, quantity=1)
    home.land(f"{STOCK}/again.ndjson", line(event(1, quantity=2)) + line(event(1, quantity=1)))
    home.load()
    hashes = dict(home.query("select content_hash, payload from records"))
    winner = json.loads(hashes[min(hashes)])["quantity"]
    assert ask(home, "select quantity from live.stock_events") == [(winner,)]


def test_no_build_is_waited_for(home: Home) -> None:
    arrive(home, 1)
    build_and_publish(home)
    arrive(home, 2)
    with duckdb.connect(str(home.settings.build_database)) as writer:  # as dbt does for minutes
        writer.execute("create table marts.half as select 1 as a")
        assert in_another_process(home) == ["e2"]


def in_another_process(home: Home) -> list[str]:
    answered = run_larder(
        home.settings.home,
        *("query", "--live", EVENTS, "--format", "csv"),
        LARDER_KEY_FILE=str(home.settings.key_file),
    )
    assert answered.returncode == 0, answered.stderr
    found: list[str] = answered.stdout.split()[1:]
    return found


def test_an_event_is_live_within_ten_seconds_of_its_acknowledgement(home: Home) -> None:
    """… with the build open for writing all the time, as an hourly build has it."""
    arrive(home, 1)
    build_and_publish(home)
    with (
        running(home.settings.home) as collector,
        following(home.settings),
        duckdb.connect(str(home.settings.build_database)),
    ):
        assert collector.post(f"/v1/{STOCK}", event(2))[0] == 200
        wait_for(home, "e2", 30)  # the loader is awake
        assert collector.post(f"/v1/{STOCK}", event(3, customer_id=PERSON))[0] == 200
        wait_for(home, "e3", 10)


def wait_for(home: Home, event_id: str, seconds: float) -> None:
    until = time.monotonic() + seconds
    while event_id not in in_another_process(home):
        assert time.monotonic() < until, f"{event_id} is not live after {seconds} s"


def test_a_compacted_segment_is_what_its_parts_were(home: Home) -> None:
    for number in range(LEAST_PARTS):
        arrive(home, number)
    build_and_publish(home)
    decide(home, "accepted")
    compact(home.settings, lambda: NOW + timedelta(days=30))
    (segment,) = home.settings.raw_folder.glob("*/*/*/*.parquet")
    assert segment.name.startswith("compacted-")
    assert events(home) == []


def test_going_back_shows_what_the_generation_before_lacks(home: Home) -> None:
    arrive(home, 1)
    build_and_publish(home)
    arrive(home, 2)
    build_and_publish(home, after_hours=1)
    assert events(home) == []
    rollback(home.settings)
    assert events(home) == ["e2"]


def test_what_is_remembered_goes_with_its_generation(home: Home) -> None:
    arrive(home, 1)
    for hour in range(6):
        build_and_publish(home, after_hours=hour)
    kept = {file.stem for file in home.settings.live_folder.glob("generation-*.json")}
    assert kept == {f"generation-{name}" for name in list_generations(home.settings)}


def test_segments_that_change_while_they_are_read(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compaction takes segments away between the list and the reading."""
    arrive(home, 1)
    arrive(home, 2)
    taken: list[int] = []

    def vanishing(paths: list[Path], *options: str) -> str:
        if paths and not taken:
            taken.append(1)
            paths[0].unlink()
        rows: str = segment_rows(paths, *options)
        return rows

    monkeypatch.setattr("larder.live.segment_rows", vanishing)
    assert len(events(home)) == 1


def test_a_compacted_segment_that_is_compacted_again_before_it_is_opened(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(LEAST_PARTS):
        arrive(home, number)
    build_and_publish(home)
    decide(home, "accepted")
    compact(home.settings, lambda: NOW + timedelta(days=30))
    (segment,) = home.settings.raw_folder.glob("*/*/*/*.parquet")
    arrive(home, LEAST_PARTS)

    def listed(settings: Settings) -> list[str]:
        names = list(segment_names(settings))
        if segment.exists():
            segment.rename(segment.with_name(f"compacted-{'0' * 32}.parquet"))
        return names

    monkeypatch.setattr("larder.live.segment_names", listed)
    assert events(home) == [f"e{LEAST_PARTS}"]


def test_segments_that_change_all_the_time_are_said_in_a_line(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrive(home, 1)
    gone = [f"{STOCK}/process_hour=2024-06-01T00/compacted-{'0' * 32}.parquet"]
    monkeypatch.setattr("larder.live.segment_names", lambda _: gone)
    with pytest.raises(WarehouseError, match=r"change while they are read\. Ask again"):
        events(home)


def test_a_query_that_is_no_sql(home: Home) -> None:
    with pytest.raises(WarehouseError, match="could not be run"):
        ask(home, "select from where")


def test_a_new_version_is_compiled_anew(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Settings] = []

    def compiled(settings: Settings, _begun: object) -> Any:
        asked.append(settings)
        return found

    found = live_models(home.settings)
    monkeypatch.setattr("larder.live_models._compiled", compiled)
    assert live_models(home.settings) == found and not asked
    monkeypatch.setattr("larder.live_models.project_fingerprint", lambda: "another")
    assert live_models(home.settings) == found and asked
    assert live_models(home.settings) == found and len(asked) == 1


def test_whoever_asks_while_it_is_prepared_waits_for_it(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = live_models(home.settings)
    monkeypatch.setattr("larder.live_models.project_fingerprint", lambda: "another")
    is_begun, go_on = threading.Event(), threading.Event()
    asked: list[Settings] = []

    def compiled(settings: Settings, _begun: object) -> Any:
        asked.append(settings)
        is_begun.set()
        assert go_on.wait(30)
        return found

    monkeypatch.setattr("larder.live_models._compiled", compiled)
    told: list[str] = []
    with ThreadPoolExecutor() as threads:
        first = threads.submit(live_models, home.settings, told.append)
        assert is_begun.wait(30)
        second = threads.submit(live_models, home.settings, told.append)
        while len(told) < 2:
            time.sleep(0.01)
        go_on.set()
        assert first.result() == second.result() == found
    assert len(asked) == 1


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    made = make_home(tmp_path)
    made.settings.live_folder.write_text("in its place", encoding="utf-8")
    with pytest.raises(SettingsError, match=f"{made.settings.live_folder} cannot be written"):
        live_models(made.settings)


def test_every_model_that_is_seen_lists_its_columns(compiled_live: Path) -> None:
    content = json.loads((compiled_live / "models.json").read_text(encoding="utf-8"))
    seen = [model for model in content["models"] if model["table"]]
    assert {model["table"] for model in seen} == {"stock_events", "trip_events", "menu_events"}
    for model in seen:
        assert model["schema"] == "anonymised"
        assert not {"content_hash", "payload", "natural_key"} & set(model["columns"])
