-- When do the vans report: how many delivery events in each hour of each day (UTC)?
-- chart: events by event_date, event_hour
with trip_events as (
    select *
    from {{ ref('fct_trip_events') }}
),

answers as (
    select
        cast(occurred_at as date) as event_date,
        cast(extract(hour from occurred_at) as integer) as event_hour,
        count(*) as events,
        count(distinct trip_id) as trips
    from trip_events
    group by cast(occurred_at as date), extract(hour from occurred_at)
)

select *
from answers
order by event_date, event_hour
