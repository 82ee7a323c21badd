-- Which hours of the day (UTC) are the busiest?
-- chart: events by event_hour
with trip_events as (
    select *
    from {{ ref('fct_trip_events') }}
),

answers as (
    select
        cast(extract(hour from occurred_at) as integer) as event_hour,
        count(*) as events,
        count(distinct trip_id) as trips
    from trip_events
    group by extract(hour from occurred_at)
)

select *
from answers
order by events desc, event_hour asc
