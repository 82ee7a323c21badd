"""The original day of one van: from the provider's webhooks to the ten questions, drawn."""

from __future__ import annotations

import json
import re
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from collecting import running
from dbt_client import WITHOUT_TESTS, Dbt
from warehouse_homes import run_larder, settings_of

from larder.serving.publish import publish
from larder.settings import PROJECT_ROOT, Settings
from loaders.load import load

DAY = PROJECT_ROOT.parent / "shared" / "data" / "delivery_webhooks.json"
FENCES = [
    {
        "geofence_id": "dairy",
        "geofence_name": "Dairy",
        "centre": [-120.2874387, 36.9568195],
        "radius_metres": 100,
        "updated_at": "2023-08-01T00:00:00Z",
    },
    {
        "geofence_id": "town",
        "geofence_name": "Town",
        "polygon": {
            "type": "Polygon",
            "coordinates": [
                [[-120.26, 36.92], [-120.22, 36.92], [-120.22, 36.94], [-120.26, 36.94]]
            ],
        },
        "updated_at": "2023-08-01T00:00:00Z",
    },
]
HOUR, TYPES = "event_hour", "event_type"


@pytest.fixture(scope="module")
def home(dbt: Dbt, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The day sent through a collector, loaded, built and published."""
    if not DAY.exists():
        pytest.skip(f"{DAY} is not there: it may not ship with the project")
    settings: Settings = settings_of(tmp_path_factory.mktemp("delivery") / "warehouse")
    settings.home.mkdir()
    with running(settings.home) as collector:
        for webhook in json.loads(DAY.read_text(encoding="utf-8")):
            answer = collector.post("/v1/trips/webhook", webhook)
            assert answer == (200, {"accepted": 1, "rejected": 0})
        assert collector.post_lines("/v1/trips/geofences", *FENCES)[0] == 200
        collector.kill(signal.SIGTERM)
    load(settings, lambda: datetime.now(UTC))
    built = dbt.run(
        settings.home,
        *("build", "--select", "+fct_trips", "+fct_geofence_visits", "+dim_geofences"),
        *WITHOUT_TESTS,
    )
    assert built.success, (built.message, built.problems)
    publish(settings, datetime.now(UTC))
    return settings


def asked(home: Settings, analysis: str) -> list[dict[str, Any]]:
    """Ask a saved question as a program does; it gets rows, and no chart."""
    ran = run_larder(home.home, "query", "--analysis", analysis, "--format", "json")
    assert ran.returncode == 0, ran.stderr
    rows: list[dict[str, Any]] = json.loads(ran.stdout)
    return rows


@pytest.mark.parametrize(
    ("analysis", "answers"),
    [
        ("total_events", [{"events": 92, "good_positions": 91, "trips": 1}]),
        (
            "events_by_hour_and_type",
            [
                {HOUR: 17, TYPES: "user.started_trip", "events": 1},
                {HOUR: 17, TYPES: "user.updated_trip", "events": 18},
                {HOUR: 18, TYPES: "user.updated_trip", "events": 73},
            ],
        ),
        (
            "daily_and_hourly_patterns",
            [
                {"event_date": "2023-08-08", HOUR: 17, "events": 19, "trips": 1},
                {"event_date": "2023-08-08", HOUR: 18, "events": 73, "trips": 1},
            ],
        ),
        ("busiest_hours", [{HOUR: 18, "events": 73}, {HOUR: 17, "events": 19}]),
        ("daily_trips", [{"trip_date": "2023-08-08", "trips": 1, "stops": 2}]),
        (
            "peak_hours",
            [
                {HOUR: 18, "events": 73, "event_percent": 79.35},
                {HOUR: 17, "events": 19, "event_percent": 20.65},
            ],
        ),
        (
            "user_activity",
            [
                {
                    "events": 92,
                    "trips": 1,
                    "active_hours": 2,
                    "first_event_at": "2023-08-08T17:50:48.793000",
                    "last_event_at": "2023-08-08T18:38:23.400000",
                }
            ],
        ),
        (
            "geographic_activity_by_hour",
            [
                {HOUR: 17, "positions": 18, "mean_latitude": 36.9567, "mean_longitude": -120.2873},
                {HOUR: 18, "positions": 73, "mean_latitude": 36.9529, "mean_longitude": -120.2822},
            ],
        ),
        ("live_events", [{"kind": "live", "events": 92}]),
        (
            "daily_geofence_activity",
            [
                # the van stood at the dairy until 18:22, and was still in town at the end
                {"geofence_id": "dairy", "derived_visits": 1, "reported_visits": 0, "near_trips": 1,
                 "derived_dwell_minutes": 31.1473},
                {"geofence_id": "town", "derived_visits": 1, "reported_visits": 0, "near_trips": 0,
                 "derived_dwell_minutes": None},
            ],
        ),
    ],
)  # fmt: skip
def test_the_ten_questions_are_answered(
    home: Settings, analysis: str, answers: list[dict[str, Any]]
) -> None:
    rows = asked(home, analysis)
    assert [
        {
            name: round(row[name], 4) if isinstance(row[name], float) else row[name]
            for name in answer
        }
        for row, answer in zip(rows, answers, strict=True)
    ] == answers


def test_a_question_is_drawn_below_its_table_and_in_a_file(home: Settings, tmp_path: Path) -> None:
    picture = tmp_path / "hours.svg"
    question = ("query", "--analysis", "events_by_hour_and_type")
    shown = run_larder(home.home, *question, "--chart", str(picture))
    assert shown.returncode == 0, shown.stderr
    table, _, chart = shown.stdout.partition("3 rows")
    assert "user.started_trip" in table
    bars = [line.count("█") for line in chart.splitlines() if "user." in line]
    assert bars == [0, 12, 50]  # of 1, 18 and 73 events
    text = picture.read_text(encoding="utf-8")
    assert re.findall(r">(1\d · user\.\w+)<", text) == [
        "17 · user.started_trip",
        "17 · user.updated_trip",
        "18 · user.updated_trip",
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("select 1", "--chart", "a.svg"), "give --analysis NAME"),
        (("--analysis", "peak_hours", "--chart", "a.png"), "FILE.svg"),
        (("--analysis", "peak_hours", "--chart", "nowhere/a.svg"), "cannot be written"),
    ],
)
def test_a_picture_that_cannot_be_says_why(
    home: Settings, options: tuple[str, ...], said: str
) -> None:
    ran = run_larder(home.home, "query", *options)
    assert ran.returncode == 2, ran.stdout
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr
