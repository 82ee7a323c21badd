-- one row per location, item and local day that the scores look at: the newest days up to the last
-- one that has closed, without the days on which nothing had been heard of the pair for too long;
-- a view, because the scores read it only when a day has closed
{{ config(materialized='view') }}

with stock_days as (
    select *
    from {{ ref('fct_stock_days') }}
),

location_days as (
    select *
    from {{ ref('int_clock__location_days') }}
),

locations as (
    select
        location_id,
        region
    from {{ ref('dim_locations') }}
),

holidays as (
    select *
    from {{ ref('int_orders__holidays') }}
),

score_days as (
    select
        stock_days.location_id,
        stock_days.item_id,
        stock_days.stock_date,
        stock_days.opening_units,
        stock_days.restocked_units,
        stock_days.sold_units,
        stock_days.discarded_units,
        stock_days.adjusted_units,
        stock_days.closing_units,
        stock_days.is_stocked_out,
        stock_days.stocked_out_minutes,
        stock_days.open_minutes,
        holidays.calendar_date is not null as is_holiday,
        location_days.as_of_date
    from stock_days
    inner join location_days on stock_days.location_id = location_days.location_id
    left join locations on stock_days.location_id = locations.location_id
    left join holidays
        on
            locations.region = holidays.region
            and stock_days.stock_date = holidays.calendar_date
    where
        stock_days.stock_date <= location_days.as_of_date
        and stock_days.stock_date > location_days.as_of_date - {{ var('score_history_days') }}
        and cast(stock_days.last_event_at as date)
        > stock_days.stock_date - {{ var('active_days') }}
)

select *
from score_days
