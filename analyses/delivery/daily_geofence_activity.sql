-- How many visits of each geofence were there each day (UTC), beside events within 0.1 mile?
-- chart: derived_visits, reported_visits, near_trips by activity_date, geofence_name
with trip_events as (
    select *
    from {{ ref('fct_trip_events') }}
    where position_flag = 'good'
),

visits as (
    select *
    from {{ ref('fct_geofence_visits') }}
),

geofences as (
    select *
    from {{ ref('dim_geofences') }}
),

counted_visits as (
    select
        cast(coalesce(entered_at, exited_at) as date) as activity_date,
        geofence_id,
        sum(case when evidence = 'reported' then 1 else 0 end) as reported_visits,
        sum(case when evidence = 'derived' then 1 else 0 end) as derived_visits,
        sum(case when evidence = 'derived' then dwell_seconds end) / 60 as derived_dwell_minutes
    from visits
    where coalesce(entered_at, exited_at) is not null
    group by cast(coalesce(entered_at, exited_at) as date), geofence_id
),

-- what is counted where no geofences are known: a tenth of a mile (160.9344 m, 0.001447 degrees of
-- latitude) around the place on a flat earth, whatever its shape
distances as (
    select
        trip_events.trip_id,
        geofences.geofence_id,
        cast(trip_events.occurred_at as date) as activity_date,
        trip_events.latitude - geofences.centre_latitude as north_degrees,
        (trip_events.longitude - geofences.centre_longitude)
        * cos(radians(geofences.centre_latitude)) as east_degrees
    from trip_events
    inner join geofences
        on
            trip_events.latitude
            between geofences.centre_latitude - 0.001447 and geofences.centre_latitude + 0.001447
),

near_events as (
    select
        activity_date,
        geofence_id,
        count(*) as near_events,
        count(distinct trip_id) as near_trips
    from distances
    where pow(north_degrees, 2) + pow(east_degrees, 2) <= pow(0.001447, 2)
    group by activity_date, geofence_id
),

days as (
    select
        activity_date,
        geofence_id
    from counted_visits
    union
    select
        activity_date,
        geofence_id
    from near_events
),

answers as (
    select
        days.activity_date,
        days.geofence_id,
        geofences.geofence_name,
        coalesce(counted_visits.reported_visits, 0) as reported_visits,
        coalesce(counted_visits.derived_visits, 0) as derived_visits,
        counted_visits.derived_dwell_minutes,
        coalesce(near_events.near_events, 0) as near_events,
        coalesce(near_events.near_trips, 0) as near_trips
    from days
    left join geofences on days.geofence_id = geofences.geofence_id
    left join counted_visits
        on
            days.activity_date = counted_visits.activity_date
            and days.geofence_id = counted_visits.geofence_id
    left join near_events
        on
            days.activity_date = near_events.activity_date
            and days.geofence_id = near_events.geofence_id
)

select *
from answers
order by activity_date, geofence_id
