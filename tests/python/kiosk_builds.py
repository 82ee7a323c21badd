"""A build made by hand whose history can be replayed: kiosks that waste most of what they get."""

from __future__ import annotations

from datetime import date

import duckdb
import numpy as np
import pandas as pd

from larder.settings import Settings

PLACES, ITEMS, DAYS = 6, 5, 130
AS_OF = date(2025, 6, 30)
TABLES = """
    create schema marts;
    create schema intermediate;
    create table intermediate.int_stock__score_days as select * from stock_days;
    create table intermediate.int_stock__score_pairs as
        select pair_number, 'p' || pair_number % 6 as location_id,
            'i' || pair_number // 6 as item_id, 'north' as region, 'kiosk' as kind,
            100.0 as population, 'soup' as category, 4.0 as price_usd, true as is_on_offer,
            date '2025-06-30' as as_of_date
        from range(30) as pairs (pair_number);
    create table marts.dim_items as
        select 'i' || item as item_id, 'Soup ' || item as item_name, 4.0 as price_usd,
            1.5 as unit_cost_usd, 0.1 as disposal_cost_usd, 1 as shelf_life_days, 1 as pack_size,
            0 as order_lead_hours
        from range(5) as items (item);
    create table marts.dim_locations as
        select 'p' || place as location_id, 'Kiosk ' || place as location_name,
            '["mon", "tue", "wed", "thu", "fri", "sat"]' as restock_weekdays,
            null::integer as capacity_units
        from range(6) as places (place);
    create table intermediate.int_clock__location_days as
        select location_id, 480 as opens_minute, 1200 as closes_minute from marts.dim_locations;
    create table marts.dim_dates as
        select day::date as calendar_date, lower(strftime(day, '%a')) as weekday
        from range(date '2024-12-01', date '2025-09-01', interval 1 day) as days (day);
    create table marts.dim_region_dates as
        select 'north' as region, calendar_date, false as is_holiday, false as is_school_holiday,
            0.0 as rain_millimetres, 20.0 as temperature_celsius
        from marts.dim_dates;
    create table intermediate.int_catalog__promoted_times (
        item_id varchar, location_id varchar, starts_at timestamp, ends_at timestamp
    );
    create table intermediate.int_orders__item_trends (
        region varchar, item_id varchar, week_start date, trend_index double
    );
    create table marts.ml_models as
        select 'waste_boosted' as model_name, 'v1' as model_version,
            date '2025-06-30' as data_until,
            timestamp '2025-07-01' as trained_at, true as is_promoted,
            'promoted: brier 0.1 <beats> 0.2' as decision;
    create table marts.ml_evaluations as
        select 'waste_boosted' as model_name, 'v1' as model_version,
            date '2025-06-30' as as_of_date,
            'brier' as metric, 0.123 as value, 0.1 as value_low, 0.15 as value_high,
            'waste_shrunk_rate' as baseline_name, 0.234 as baseline_value,
            null::double as difference_low, null::double as difference_high;
    create table marts.ml_monitoring as
        select 'waste_boosted' as model_name, 'v1' as model_version,
            date '2025-06-30' as as_of_date,
            'psi_price' as signal, 0.6 as value, 0.25 as threshold, true as is_alarm;
"""


def write_build(settings: Settings) -> None:
    """Write it: twelve fresh units come every day, about four are asked for, the rest goes."""
    settings.home.mkdir(parents=True)
    wanted = np.random.default_rng(8).poisson(4, PLACES * ITEMS * DAYS)
    pair, days_ago = np.divmod(np.arange(len(wanted)), DAYS)
    stock_days = pd.DataFrame(
        {
            "pair_number": pair,
            "days_ago": days_ago,
            "restocked_units": 12.0,
            "sold_units": np.minimum(wanted, 12.0),
            "discarded_units": 12.0 - np.minimum(wanted, 12.0),
            "adjusted_units": 0.0,
            "closing_units": 0.0,
            "is_stocked_out": wanted >= 12,
            "stocked_out_minutes": np.where(wanted >= 12, 60.0, 0.0),
            "open_minutes": 720.0,
        }
    )
    with duckdb.connect(str(settings.build_database)) as connection:
        connection.register("stock_days", stock_days)
        for statement in TABLES.split(";")[:-1]:
            connection.execute(statement)
