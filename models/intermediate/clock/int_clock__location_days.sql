-- one row per location that has sent a stock event or an order, or is in the catalogue: its local
-- day at the moment that counts as now, and its newest day that has closed
with as_of as (
    select as_of_at
    from {{ ref('int_clock__now') }}
),

stock_locations as (
    select distinct location_id
    from {{ ref('int_stock__movements') }}
),

order_locations as (
    select distinct location_id
    from {{ ref('anon_commerce__order_lines') }}
),

clocks as (
    select *
    from {{ ref('int_catalog__location_clocks') }}
),

locations as (
    select location_id from stock_locations
    union
    select location_id from order_locations
    union
    select location_id from clocks
),

local_clocks as (
    select
        locations.location_id,
        stock_locations.location_id is not null as has_stock_events,
        coalesce(clocks.time_zone, 'UTC') as time_zone,
        coalesce(clocks.opens_minute, {{ var('default_opens_minute') }}) as opens_minute,
        coalesce(clocks.closes_minute, {{ var('default_closes_minute') }}) as closes_minute,
        as_of.as_of_at,
        {{ local_time('as_of.as_of_at', "coalesce(clocks.time_zone, 'UTC')") }} as local_at
    from locations
    cross join as_of
    left join stock_locations on locations.location_id = stock_locations.location_id
    left join clocks on locations.location_id = clocks.location_id
),

days as (
    select
        location_id,
        time_zone,
        opens_minute,
        closes_minute,
        has_stock_events,
        cast(local_at as date) as local_date,
        -- a day has closed when the clock on the wall has reached closing time
        case
            when
                extract(hour from local_at) * 60 + extract(minute from local_at) >= closes_minute
                then cast(local_at as date)
            else cast(local_at as date) - 1
        end as as_of_date,
        as_of_at
    from local_clocks
)

select *
from days
