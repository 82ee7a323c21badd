"""What a run says: of every place, and of what arrived, whatever became of the rest."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import datetime

import duckdb
import pytest
from rich.console import Console

from larder.pipeline import RunReport
from larder.reporting import print_arrivals
from larder.summary import _last_week, _orders, _risks
from loaders.audit import AuditSummary, HeldSegment
from loaders.load import EntityLoad, LoadSummary

EAST, WEST, SILENT = "2024-05-10", "2024-05-08", "2024-05-07"
TABLES = f"""
    create schema marts;
    create table marts.dim_locations as
        select * from (values ('e', 'East'), ('w', 'West'), ('s', 'Silent'))
        as locations (location_id, location_name);
    create table marts.dim_items as select 'soup' as item_id, 'Soup' as item_name;
    create table marts.ml_waste_probabilities as
        select location_id, 'soup' as item_id, as_of_date::date as as_of_date, horizon_days,
            0.1::double * horizon_days as waste_probability, 1.0 as expected_wasted_units,
            'why' as reasons
        from (values ('e', '{EAST}'), ('e', '{WEST}'), ('w', '{WEST}'), ('s', '{SILENT}'))
            as places (location_id, as_of_date),
            (values (1), (2)) as horizons (horizon_days);
    create table marts.rpt_order_plan as
        select location_id, 'soup' as item_id, as_of_date::date as as_of_date,
            as_of_date::date + 1 as order_date, 5 as planned_units, 2.5 as plan_cost_usd,
            -1.0 as cost_against_previous_policy_usd
        from (values ('e', '{EAST}'), ('e', '{WEST}'), ('w', '{WEST}'), ('s', '{SILENT}'))
            as places (location_id, as_of_date);
    create table marts.rpt_waste_and_availability as
        select 'network' as scope, 'day' as period,
            ('2024-05-01'::date + days.day::integer) as period_start,
            1.0 as wasted_units, 1.0 as waste_cost_usd, 1.0 as lost_units_estimate,
            1.0 as lost_margin_usd, 10.0 as sold_units, 20.0 as sales_usd
        from range(0, 10) as days (day);
"""


@pytest.fixture
def marts() -> Iterator[duckdb.DuckDBPyConnection]:
    """What is published while places at the ends of the world are two days apart."""
    with duckdb.connect() as connection:
        for statement in TABLES.split(";")[:-1]:
            connection.execute(statement)
        yield connection


def test_risks_are_those_of_the_newest_closed_day_of_each_place(
    marts: duckdb.DuckDBPyConnection,
) -> None:
    section = _risks(marts)
    rows = section.rows
    assert section.note.endswith("closed: Thu 09 May or Sat 11 May.")
    assert sorted((row[0], row[2], row[4]) for row in rows) == [
        ("East", "20 %", "by Sun 12 May"),
        ("West", "20 %", "by Fri 10 May"),
    ]


@pytest.mark.parametrize(
    ("probability", "shown"),
    [
        (0.0004, "<1 %"),
        (0.00499, "<1 %"),
        (0.005, "1 %"),
        (0.5, "50 %"),
        (0.99499, "99 %"),
        (0.995, ">99 %"),
        (0.9999, ">99 %"),
    ],
)
def test_what_is_not_certain_is_not_rounded_to_it(
    marts: duckdb.DuckDBPyConnection, probability: float, shown: str
) -> None:
    marts.execute("update marts.ml_waste_probabilities set waste_probability = ?", [probability])
    assert {row[2] for row in _risks(marts).rows} == {shown}


def test_orders_are_those_of_each_places_newest_plan(marts: duckdb.DuckDBPyConnection) -> None:
    section = _orders(marts)
    assert sorted(row[:2] for row in section.rows) == [
        ("East", "Sat 11 May"),
        ("West", "Thu 09 May"),
    ]
    assert "2 places, 10 units" in section.note


def test_the_week_ends_where_the_day_has_ended_everywhere(
    marts: duckdb.DuckDBPyConnection,
) -> None:
    section = _last_week(marts)
    assert section.title == "What the week from 02 May to 08 May 2024 cost"
    assert section.rows[0] == ("sold", "70", "140.00")


def test_a_run_that_stops_still_tells_what_arrived_and_what_is_held() -> None:
    held = HeldSegment("fridge/a", "fridge/stock_events", "batch-7", datetime(2024, 5, 1), "why")  # noqa: DTZ001
    load = LoadSummary({"fridge/stock_events": EntityLoad(files=1, records=123, rejected=4)}, 0)
    audit = AuditSummary(held=(held,), warnings=("trips: too few",), skipped="nothing new")
    console = Console(file=io.StringIO(), width=120)

    print_arrivals(console, RunReport(load, audit))

    assert isinstance(console.file, io.StringIO)
    printed = console.file.getvalue()
    for said in ("123", "trips: too few", "nothing new", "batch-7", "--release BATCH"):
        assert said in printed
