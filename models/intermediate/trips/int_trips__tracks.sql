-- one row per trip event: what its position is worth and, where it is good, the leg to it from the
-- good position before it. Every track that a new or late event touches is computed anew, and no
-- other: what a position is worth depends on those before and after it, not on the order of their
-- arrival
{{ config(
    materialized='incremental', unique_key='event_id', incremental_strategy='delete+insert'
) }}

{% set in_track
    = 'over (partition by track_key, position_flag order by occurred_at, event_id)' -%}

{% if is_incremental() -%}
with touched as (
    -- a copy that lost counts, too: its event may have been of another trip
    select track_key
    from {{ ref('anon_trips__trip_events') }}
    where accepted_at > {{ last_accepted(this) }}
),

stops as (
    select
        track_key,
        max(occurred_at) as stopped_at
    from {{ ref('anon_trips__trip_events') }}
    where
        is_current
        and event_type = 'user.stopped_trip'
        and trip_id is not null
        and track_key in (select touched.track_key from touched)
    group by track_key
),
{%- else -%}
with stops as (
    select
        track_key,
        max(occurred_at) as stopped_at
    from {{ ref('anon_trips__trip_events') }}
    where
        is_current
        and event_type = 'user.stopped_trip'
        and trip_id is not null
    group by track_key
),
{%- endif %}

-- what a position says for itself
looked_at as (
    select
        events.event_id,
        events.trip_id,
        events.track_key,
        events.event_type,
        cast(events.latitude as double) as latitude,
        cast(events.longitude as double) as longitude,
        events.occurred_at,
        events.accepted_at,
        case
            when events.latitude is null or events.longitude is null then 'empty'
            when abs(events.latitude) > 90 or abs(events.longitude) > 180 then 'out_of_range'
            when events.latitude = 0 and events.longitude = 0 then 'at_zero'
            when
                events.occurred_at
                > {{ dbt.dateadd('second', var('future_seconds'), 'events.received_at') }}
                or events.occurred_at
                > {{ dbt.dateadd('day', var('most_trip_days'), 'events.trip_started_at') }}
                then 'from_the_future'
            when
                events.occurred_at
                < {{ dbt.dateadd('second', -var('trip_slack_seconds'), 'events.trip_started_at') }}
                or events.occurred_at
                > {{ dbt.dateadd('second', var('trip_slack_seconds'), 'stops.stopped_at') }}
                then 'out_of_order'
            else 'good'
        end as position_flag
    from {{ ref('anon_trips__trip_events') }} as events
    left join stops on events.track_key = stops.track_key
    where
        events.is_current
        and {{
            'events.track_key in (select touched.track_key from touched)'
            if is_incremental() else 'true'
        }}
),

-- What it says beside the others of its track, in the order in which they happened. The flag is
-- part of each partition, so a position has the others that are good so far for neighbours, and
-- no event has to be joined to itself.
told_once as (
    select
        event_id,
        trip_id,
        track_key,
        latitude,
        longitude,
        occurred_at,
        accepted_at,
        case
            when
                position_flag = 'good'
                and row_number() over (
                    partition by
                        track_key, position_flag, occurred_at, latitude, longitude, event_type
                    order by event_id
                ) > 1
                then 'duplicated'
            else position_flag
        end as position_flag
    from looked_at
),

neighbours as (
    select
        *,
        lag(latitude) {{ in_track }} as last_latitude,
        lag(longitude) {{ in_track }} as last_longitude,
        lag(occurred_at) {{ in_track }} as last_occurred_at,
        lead(latitude) {{ in_track }} as next_latitude,
        lead(longitude) {{ in_track }} as next_longitude,
        lead(occurred_at) {{ in_track }} as next_occurred_at,
        lead(latitude, 2) {{ in_track }} as after_next_latitude,
        lead(longitude, 2) {{ in_track }} as after_next_longitude,
        lead(occurred_at, 2) {{ in_track }} as after_next_occurred_at
    from told_once
),

-- one that lies apart from both neighbours is the jump, not the one after it; so is a first one
-- that the next two lie apart from
without_lone as (
    select
        event_id,
        trip_id,
        track_key,
        latitude,
        longitude,
        occurred_at,
        accepted_at,
        case
            when position_flag != 'good' then position_flag
            when
                {{ speed_kmh('last_', '') }} > {{ var('most_speed_kmh') }}
                and {{ speed_kmh('', 'next_') }} > {{ var('most_speed_kmh') }}
                and {{ speed_kmh('last_', 'next_') }} <= {{ var('most_speed_kmh') }}
                then 'jump'
            when
                last_occurred_at is null
                and {{ speed_kmh('', 'next_') }} > {{ var('most_speed_kmh') }}
                and {{ speed_kmh('next_', 'after_next_') }} <= {{ var('most_speed_kmh') }}
                then 'jump'
            else 'good'
        end as position_flag
    from neighbours
),

steady as (
    select
        *,
        lag(latitude) {{ in_track }} as last_latitude,
        lag(longitude) {{ in_track }} as last_longitude,
        lag(occurred_at) {{ in_track }} as last_occurred_at
    from without_lone
),

flagged as (
    select
        event_id,
        trip_id,
        track_key,
        latitude,
        longitude,
        occurred_at,
        accepted_at,
        case
            when position_flag != 'good' then position_flag
            when {{ speed_kmh('last_', '') }} > {{ var('most_speed_kmh') }} then 'jump'
            else 'good'
        end as position_flag
    from steady
),

legs as (
    select
        *,
        row_number() {{ in_track }} as position_number,
        lag(latitude) {{ in_track }} as last_latitude,
        lag(longitude) {{ in_track }} as last_longitude,
        lag(occurred_at) {{ in_track }} as last_occurred_at,
        lead(occurred_at) {{ in_track }} as next_occurred_at
    from flagged
),

tracks as (
    select
        event_id,
        trip_id,
        track_key,
        position_flag,
        case when position_flag = 'good' then position_number end as position_number,
        case
            when position_flag = 'good'
                then
                    {{ haversine_metres(
                        'last_latitude', 'last_longitude', 'latitude', 'longitude'
                    ) }}
        end as metres,
        case
            when position_flag = 'good'
                then
                    cast(
                        {{ dbt.datediff('last_occurred_at', 'occurred_at', 'millisecond') }}
                        / 1000.0 as double
                    )
        end as seconds,
        case when position_flag = 'good' then {{ speed_kmh('last_', '') }} end as speed_kmh,
        occurred_at,
        case when position_flag = 'good' then next_occurred_at end as next_occurred_at,
        accepted_at
    from legs
)

select *
from tracks
