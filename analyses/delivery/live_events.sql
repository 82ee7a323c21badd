-- How many delivery events were live, and how many a test of the provider?
-- chart: events by event_date, kind
with trip_events as (
    select *
    from {{ ref('fct_trip_events') }}
),

answers as (
    select
        cast(occurred_at as date) as event_date,
        case
            when is_live then 'live'
            when not is_live then 'test'
            else 'unknown'
        end as kind,
        count(*) as events,
        count(distinct trip_id) as trips
    from trip_events
    group by
        cast(occurred_at as date),
        case
            when is_live then 'live'
            when not is_live then 'test'
            else 'unknown'
        end
)

select *
from answers
order by event_date, kind
