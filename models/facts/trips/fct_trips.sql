-- one row per trip, of its good positions in the order in which they happened; a trip that a new or
-- late event touches is computed anew
{{ config(
    unique_key='trip_id',
    incremental_strategy='delete+insert',
    post_hook="delete from {{ this }} where event_count = 0"
) }}

with touched as (
    select
        trip_id,
        max(accepted_at) as accepted_at
    from {{ ref('anon_trips__trip_events') }}
    where
        trip_id is not null
        and {{ 'accepted_at > ' ~ last_accepted(this) if is_incremental() else 'true' }}
    group by trip_id
),

events as (
    select trip_events.*
    from {{ ref('fct_trip_events') }} as trip_events
    where trip_events.trip_id in (select touched.trip_id from touched)
),

-- a clock that is wrong says nothing of when a trip was
counted as (
    select
        trip_id,
        min(driver_key) as driver_key,
        count(*) as event_count,
        sum(case when position_flag = 'good' then 1 else 0 end) as position_count,
        min(trip_started_at) as said_started_at,
        min(case when position_flag not in ('from_the_future', 'out_of_order') then occurred_at end)
            as first_event_at,
        max(case when position_flag not in ('from_the_future', 'out_of_order') then occurred_at end)
            as last_event_at,
        max(case when event_type = 'user.stopped_trip' then 1 else 0 end) = 1 as is_over
    from events
    group by trip_id
),

-- nobody knows what happened in a gap; a leg from before a jump to after it may be too fast for one
legs as (
    select
        trip_id,
        position_number,
        metres,
        seconds,
        speed_kmh,
        speed_kmh <= {{ var('most_speed_kmh') }} as is_driven,
        seconds > {{ var('trip_gap_seconds') }} as is_gap,
        speed_kmh < {{ var('stop_speed_kmh') }}
        and seconds <= {{ var('trip_gap_seconds') }} as is_slow
    from {{ ref('int_trips__tracks') }}
    where
        position_number > 1
        and trip_id in (select touched.trip_id from touched)
),

standing_legs as (
    select
        trip_id,
        seconds,
        is_slow,
        sum(case when is_slow then 0 else 1 end) over (
            partition by trip_id
            order by position_number
            rows between unbounded preceding and current row
        ) as spell
    from legs
),

spells as (
    select
        trip_id,
        spell,
        sum(seconds) as seconds
    from standing_legs
    where is_slow
    group by trip_id, spell
    having sum(seconds) >= {{ var('stop_seconds') }}
),

stops as (
    select
        trip_id,
        count(*) as stop_count,
        sum(seconds) as stopped_seconds
    from spells
    group by trip_id
),

driven as (
    select
        trip_id,
        sum(case when is_driven then metres else 0 end) as distance_metres,
        max(case when is_driven then speed_kmh end) as max_speed_kmh,
        sum(case when is_gap then 1 else 0 end) as gap_count,
        sum(case when is_gap then seconds else 0 end) as gap_seconds
    from legs
    group by trip_id
),

trips as (
    select
        touched.trip_id,
        counted.driver_key,
        cast(coalesce(counted.event_count, 0) as bigint) as event_count,
        cast(coalesce(counted.position_count, 0) as bigint) as position_count,
        cast(coalesce(stops.stop_count, 0) as bigint) as stop_count,
        cast(coalesce(driven.gap_count, 0) as bigint) as gap_count,
        cast(coalesce(driven.distance_metres, 0) as double) as distance_metres,
        cast(
            {{ dbt.datediff(
                'coalesce(counted.said_started_at, counted.first_event_at)',
                'counted.last_event_at',
                'millisecond'
            ) }} / 1000.0 as double
        ) as duration_seconds,
        cast(coalesce(stops.stopped_seconds, 0) as double) as stopped_seconds,
        cast(coalesce(driven.gap_seconds, 0) as double) as gap_seconds,
        cast(driven.max_speed_kmh as double) as max_speed_kmh,
        coalesce(counted.is_over, false) as is_over,
        coalesce(counted.said_started_at, counted.first_event_at) as started_at,
        counted.last_event_at as ended_at,
        touched.accepted_at
    from touched
    left join counted on touched.trip_id = counted.trip_id
    left join driven on touched.trip_id = driven.trip_id
    left join stops on touched.trip_id = stops.trip_id
)

select *
from trips
