-- How many trips were there each day (UTC), how far and how long?
-- chart: trips by trip_date
with trips as (
    select *
    from {{ ref('fct_trips') }}
),

answers as (
    select
        cast(started_at as date) as trip_date,
        count(*) as trips,
        sum(distance_metres) / 1000 as distance_kilometres,
        sum(duration_seconds) / 3600 as duration_hours,
        sum(stop_count) as stops,
        max(max_speed_kmh) as max_speed_kmh
    from trips
    group by cast(started_at as date)
)

select *
from answers
order by trip_date
