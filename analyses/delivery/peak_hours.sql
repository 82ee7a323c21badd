-- What share of all delivery events falls into each hour of the day (UTC)?
-- chart: event_percent by event_hour
with trip_events as (
    select *
    from {{ ref('fct_trip_events') }}
),

hours as (
    select
        cast(extract(hour from occurred_at) as integer) as event_hour,
        count(*) as events
    from trip_events
    group by extract(hour from occurred_at)
),

answers as (
    select
        event_hour,
        events,
        round(100.0 * events / sum(events) over (), 2) as event_percent
    from hours
)

select *
from answers
order by events desc, event_hour asc
