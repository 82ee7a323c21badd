-- How active is each driver: events, trips, and hours of the day in which there were any?
-- chart: events by driver_key
with trip_events as (
    select *
    from {{ ref('fct_trip_events') }}
),

answers as (
    select
        driver_key,
        count(*) as events,
        count(distinct trip_id) as trips,
        count(distinct date_trunc('hour', occurred_at)) as active_hours,
        min(occurred_at) as first_event_at,
        max(occurred_at) as last_event_at
    from trip_events
    where driver_key is not null and position_flag != 'from_the_future'
    group by driver_key
)

select *
from answers
order by events desc, driver_key asc
