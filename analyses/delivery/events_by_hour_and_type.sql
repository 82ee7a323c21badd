-- How many delivery events of each type were there in each hour of the day (UTC)?
-- chart: events by event_hour, event_type
with trip_events as (
    select *
    from {{ ref('fct_trip_events') }}
),

answers as (
    select
        cast(extract(hour from occurred_at) as integer) as event_hour,
        event_type,
        count(*) as events
    from trip_events
    group by extract(hour from occurred_at), event_type
)

select *
from answers
order by event_hour, event_type
