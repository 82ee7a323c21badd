"""docs/scale.md holds what benchmarks/scale.py computes, and the arithmetic is sound."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks import scale
from larder.settings import PROJECT_ROOT, Settings


@pytest.fixture(scope="module")
def found() -> scale.Measured:
    return scale.read_figures()


def test_the_page_holds_what_the_script_computes(found: scale.Measured) -> None:
    page = scale.PAGE.read_text(encoding="utf-8")
    assert scale.filled(page, scale.tables(found)) == page, "python -m benchmarks.scale --write"


def test_a_page_without_a_place_for_a_table_is_refused() -> None:
    with pytest.raises(ValueError, match="no place for the table sizes"):
        scale.filled("# A page\n", {"sizes": "| |"})


def test_fixed_and_growing_costs_are_told_apart(tmp_path: Path) -> None:
    """Networks whose cost is 2 s + 3 µs a new event + 0.5 µs a stored one give just that."""
    measured = json.loads(scale.FIGURES.read_text(encoding="utf-8"))
    for home in measured["homes"]:
        seconds = 2 + 3e-6 * home["day_events"] + 0.5e-6 * home["history_events"]
        home["day_seconds"]["facts/fct_made_up"] = seconds
    path = tmp_path / "figures.json"
    path.write_text(json.dumps(measured), encoding="utf-8")
    cost = scale.read_figures(path).nodes["facts/fct_made_up"]
    assert (cost.fixed, cost.event, cost.stored) == pytest.approx((2, 3e-6, 0.5e-6), rel=1e-3)


def test_collectors_and_files_follow_the_busiest_minute() -> None:
    rate, peak = scale.assumed("collector_rate"), scale.assumed("peak")
    just_one = rate / peak * scale.DAY_SECONDS
    assert scale.collectors(1) == scale.collectors(just_one) == 1
    assert scale.collectors(just_one * 1.001) == 2
    most = scale.DAY_SECONDS / scale.assumed("file_seconds")
    assert scale.files(just_one) == pytest.approx(most, rel=0.01)
    assert scale.files(10) == pytest.approx(10, rel=0.01)  # seldom, a file an event


def test_files_close_when_the_collector_closes_them() -> None:
    assert scale.assumed("file_seconds") == Settings().collector_hold_seconds


def test_credits_grow_with_events_and_runs(found: scale.Measured) -> None:
    for small, large in zip(scale.EVENTS_A_DAY, scale.EVENTS_A_DAY[1:], strict=False):
        one, more = (sum(scale.credits_a_day(found, size, 1)) for size in (small, large))
        hourly = sum(scale.credits_a_day(found, large, 24))
        assert one < more <= hourly <= 24 * more


def test_every_figure_that_the_assumptions_quote_is_that_of_the_code() -> None:
    warehouses = (PROJECT_ROOT / "deploy/snowflake/40_warehouses.sql").read_text(encoding="utf-8")
    assert f"auto_suspend = {scale.assumed('suspend_seconds'):g} " in warehouses
    profiles = (PROJECT_ROOT / "profiles/profiles.yml").read_text(encoding="utf-8")
    production = profiles.partition("prod:")[2]
    assert f"threads: {scale.assumed('dbt_threads'):g}" in production
    project = (PROJECT_ROOT / "dbt_project.yml").read_text(encoding="utf-8")
    assert f"score_history_days: {scale.SCORED_DAYS}" in project
    assert f"retrain_days: {scale.RETRAIN_DAYS}" in project
    for model, gigabytes in (
        ("ml_monitoring", scale.MONITORING_GB),
        ("ml_waste_probabilities", scale.SCORING_GB),
    ):
        text = (PROJECT_ROOT / f"python_models/scores/{model}.py").read_text(encoding="utf-8")
        assert f"about {gigabytes} GB per million stock days" in " ".join(text.split())
    collector = (PROJECT_ROOT / "docs/collector.md").read_text(encoding="utf-8")
    row = re.search(
        r"^\| one event a request, 64 connections \|[^|]*\| ([\d,]+) to ", collector, re.M
    )
    assert row is not None
    assert row[1] == f"{scale.assumed('collector_rate'):,}"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.004, "< 0.01"),
        (0.0341, "0.034"),
        (0.45, "0.45"),
        (3.14, "3.1"),
        (9.96, "10"),
        (31.4, "31"),
        (3141, "3,100"),
        (999_999, "1 M"),
        (2_640_000, "2.6 M"),
        (3.6e9, "3.6 G"),
    ],
)
def test_numbers_have_two_digits_that_mean_something(value: float, text: str) -> None:
    assert scale.short(value) == text
