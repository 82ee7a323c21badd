-- one row per location that has sent a stock event or an order, or is in the catalogue: its local
-- day at the moment that counts as now, and its newest day that has closed
with as_of as (
    select *
    from {{ ref('int_clock__now') }}
),

reporting_locations as (
    select *
    from {{ ref('int_commerce__reporting_locations') }}
),

clocks as (
    select *
    from {{ ref('int_catalog__location_clocks') }}
),

locations as (
    select location_id from reporting_locations
    union
    select location_id from clocks
),

clocked as (
    select
        locations.location_id,
        coalesce(reporting_locations.has_stock_events, false) as has_stock_events,
        coalesce(clocks.time_zone, 'UTC') as time_zone,
        coalesce(clocks.opens_minute, {{ var('default_opens_minute') }}) as opens_minute,
        coalesce(clocks.closes_minute, {{ var('default_closes_minute') }}) as closes_minute,
        clocks.accepted_at
    from locations
    left join reporting_locations on locations.location_id = reporting_locations.location_id
    left join clocks on locations.location_id = clocks.location_id
),

local_clocks as (
    select
        clocked.location_id,
        clocked.time_zone,
        clocked.opens_minute,
        clocked.closes_minute,
        clocked.has_stock_events,
        {{ local_time('as_of.as_of_at', 'clocked.time_zone') }} as local_at,
        {{ local_time('as_of.told_until_at', 'clocked.time_zone') }} as told_until_local_at,
        as_of.as_of_at,
        as_of.told_until_at,
        greatest(
            as_of.accepted_at, coalesce(clocked.accepted_at, as_of.accepted_at)
        ) as accepted_at
    from clocked
    cross join as_of
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
        cast(told_until_local_at as date) as told_until_date,
        as_of_at,
        told_until_at,
        accepted_at
    from local_clocks
)

select *
from days
