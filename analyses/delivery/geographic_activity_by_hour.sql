-- Where are the vans, on average, in each hour of the day (UTC)?
-- chart: positions by event_hour
with trip_events as (
    select *
    from {{ ref('fct_trip_events') }}
),

-- jumps and duplicates were sent, too; what is no place at all has no average
answers as (
    select
        cast(extract(hour from occurred_at) as integer) as event_hour,
        count(*) as positions,
        avg(latitude) as mean_latitude,
        avg(longitude) as mean_longitude,
        min(latitude) as south,
        max(latitude) as north,
        min(longitude) as west,
        max(longitude) as east
    from trip_events
    where position_flag not in ('empty', 'out_of_range', 'at_zero')
    group by extract(hour from occurred_at)
)

select *
from answers
order by event_hour
