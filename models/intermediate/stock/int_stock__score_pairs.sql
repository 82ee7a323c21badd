-- one row per location and item that the scores look at, numbered anew in each build, so that the
-- many rows of its days need no ids
with stock_days as (
    select *
    from {{ ref('fct_stock_days') }}
),

location_days as (
    select *
    from {{ ref('int_clock__location_days') }}
),

-- the newest days up to the last one that has closed, without the days on which nothing had been
-- heard of the pair for too long
pairs as (
    select
        stock_days.location_id,
        stock_days.item_id,
        location_days.as_of_date,
        max(stock_days.stock_date) as newest_stock_date
    from stock_days
    inner join location_days on stock_days.location_id = location_days.location_id
    where
        stock_days.stock_date <= location_days.as_of_date
        and stock_days.stock_date > location_days.as_of_date - {{ var('score_history_days') }}
        and cast(stock_days.last_event_at as date)
        > stock_days.stock_date - {{ var('active_days') }}
    group by stock_days.location_id, stock_days.item_id, location_days.as_of_date
),

score_pairs as (
    select
        row_number() over (order by location_id, item_id) as pair_number,
        location_id,
        item_id,
        newest_stock_date = as_of_date as is_on_offer,
        as_of_date
    from pairs
)

select *
from score_pairs
