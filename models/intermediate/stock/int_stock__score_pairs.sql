-- one row per location and item that the scores look at, numbered anew in each build, so that the
-- many rows of its days need no ids; with what the place and the item are
with stock_days as (
    select *
    from {{ ref('fct_stock_days') }}
),

location_days as (
    select *
    from {{ ref('int_clock__location_days') }}
),

locations as (
    select *
    from {{ ref('dim_locations') }}
),

items as (
    select *
    from {{ ref('dim_items') }}
),

-- the newest days up to the last one that has closed, without the days on which nothing had been
-- heard of the pair for too long
pairs as (
    select
        stock_days.location_id,
        stock_days.item_id,
        location_days.as_of_date,
        min(stock_days.stock_date) as oldest_stock_date,
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
        row_number() over (order by pairs.location_id, pairs.item_id) as pair_number,
        pairs.location_id,
        pairs.item_id,
        locations.region,
        locations.kind,
        cast(locations.population as double) as population,
        items.category,
        cast(items.price_usd as double) as price_usd,
        cast(pairs.as_of_date - pairs.oldest_stock_date as integer) + 1 as history_days,
        pairs.newest_stock_date = pairs.as_of_date as is_on_offer,
        pairs.as_of_date
    from pairs
    left join locations on pairs.location_id = locations.location_id
    left join items on pairs.item_id = items.item_id
)

select *
from score_pairs
