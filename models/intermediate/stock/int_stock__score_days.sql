-- one row per pair that is scored and local day: the newest days up to the last one that has
-- closed, without the days on which nothing had been heard of the pair for too long; numbers only,
-- for Python reads all of them; a view, because the scores read it only when a day has closed
{{ config(materialized='view') }}

with stock_days as (
    select *
    from {{ ref('fct_stock_days') }}
),

pairs as (
    select *
    from {{ ref('int_stock__score_pairs') }}
),

score_days as (
    select
        pairs.pair_number,
        cast(pairs.as_of_date - stock_days.stock_date as integer) as days_ago,
        cast(stock_days.restocked_units as double) as restocked_units,
        cast(stock_days.sold_units as double) as sold_units,
        cast(stock_days.discarded_units as double) as discarded_units,
        cast(stock_days.adjusted_units as double) as adjusted_units,
        cast(stock_days.closing_units as double) as closing_units,
        stock_days.is_stocked_out,
        cast(stock_days.stocked_out_minutes as double) as stocked_out_minutes,
        cast(stock_days.open_minutes as double) as open_minutes
    from stock_days
    inner join pairs
        on
            stock_days.location_id = pairs.location_id
            and stock_days.item_id = pairs.item_id
    where
        stock_days.stock_date <= pairs.as_of_date
        and stock_days.stock_date > pairs.as_of_date - {{ var('score_history_days') }}
        and cast(stock_days.last_event_at as date)
        > stock_days.stock_date - {{ var('active_days') }}
)

select *
from score_days
