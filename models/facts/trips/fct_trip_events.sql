-- one row per trip event; a position that cannot be right is flagged, never dropped. Every trip
-- that a new or late event touches is computed anew, and no other: what a position is worth depends
-- on those before and after it, not on the order of their arrival
{{ config(unique_key='event_id', incremental_strategy='delete+insert') }}

{% if is_incremental() -%}
with touched as (
    -- a copy that lost counts, too: its event may have been of another trip
    select track_key
    from {{ ref('anon_trips__trip_events') }}
    where accepted_at > {{ last_accepted(this) }}
),

events as (
    select trip_events.*
    from {{ ref('anon_trips__trip_events') }} as trip_events
    where
        trip_events.is_current
        and trip_events.track_key in (select touched.track_key from touched)
),
{%- else -%}
with events as (
    select *
    from {{ ref('anon_trips__trip_events') }}
    where is_current
),
{%- endif %}

stops as (
    select
        track_key,
        max(occurred_at) as stopped_at
    from events
    where event_type = 'user.stopped_trip' and trip_id is not null
    group by track_key
),

-- what a position says for itself
looked_at as (
    select
        events.event_id,
        events.track_key,
        events.event_type,
        cast(events.latitude as double) as latitude,
        cast(events.longitude as double) as longitude,
        events.occurred_at,
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
        end as own_flag
    from events
    left join stops on events.track_key = stops.track_key
),

-- what it says beside the others of its trip, in the order in which they happened
positions as (
    select
        event_id,
        track_key,
        latitude,
        longitude,
        occurred_at
    from looked_at
    where own_flag is null
    qualify row_number() over (
        partition by track_key, occurred_at, latitude, longitude, event_type
        order by event_id
    ) = 1
),

neighbours as (
    select
        event_id,
        track_key,
        latitude,
        longitude,
        occurred_at,
        lag(latitude) over (partition by track_key order by occurred_at, event_id)
            as last_latitude,
        lag(longitude) over (partition by track_key order by occurred_at, event_id)
            as last_longitude,
        lag(occurred_at) over (partition by track_key order by occurred_at, event_id)
            as last_occurred_at,
        lead(latitude) over (partition by track_key order by occurred_at, event_id)
            as next_latitude,
        lead(longitude) over (partition by track_key order by occurred_at, event_id)
            as next_longitude,
        lead(occurred_at) over (partition by track_key order by occurred_at, event_id)
            as next_occurred_at
    from positions
),

speeds as (
    select
        event_id,
        track_key,
        latitude,
        longitude,
        occurred_at,
        {{ speed_kmh('last_', '') }} > {{ var('most_speed_kmh') }} as is_fast_here,
        {{ speed_kmh('', 'next_') }} > {{ var('most_speed_kmh') }} as is_fast_away,
        {{ speed_kmh('last_', 'next_') }} > {{ var('most_speed_kmh') }} as is_fast_past
    from neighbours
),

-- one that lies apart from both neighbours is the jump, not the one after it; so is a first one
-- that the next two lie apart from
lone as (
    select
        event_id,
        track_key,
        latitude,
        longitude,
        occurred_at,
        coalesce(is_fast_here and is_fast_away and not is_fast_past, false)
        or coalesce(
            is_fast_here is null
            and is_fast_away
            and not lead(is_fast_away) over (
                partition by track_key order by occurred_at, event_id
            ),
            false
        ) as is_lone
    from speeds
),

steady as (
    select
        event_id,
        latitude,
        longitude,
        occurred_at,
        lag(latitude) over (partition by track_key order by occurred_at, event_id)
            as last_latitude,
        lag(longitude) over (partition by track_key order by occurred_at, event_id)
            as last_longitude,
        lag(occurred_at) over (partition by track_key order by occurred_at, event_id)
            as last_occurred_at
    from lone
    where not is_lone
),

good as (
    select event_id
    from steady
    where coalesce({{ speed_kmh('last_', '') }}, 0) <= {{ var('most_speed_kmh') }}
),

flags as (
    select
        looked_at.event_id,
        case
            when looked_at.own_flag is not null then looked_at.own_flag
            when positions.event_id is null then 'duplicated'
            when good.event_id is null then 'jump'
            else 'good'
        end as position_flag
    from looked_at
    left join positions on looked_at.event_id = positions.event_id
    left join good on looked_at.event_id = good.event_id
),

trip_events as (
    select
        events.event_id,
        events.trip_id,
        events.trip_external_id,
        events.route_session_id,
        events.geofence_id,
        events.driver_key,
        events.account_key,
        events.trip_account_key,
        events.event_type,
        events.route_session_type,
        flags.position_flag,
        cast(events.latitude as double) as latitude,
        cast(events.longitude as double) as longitude,
        events.is_live,
        events.occurred_at,
        events.trip_created_at,
        events.trip_updated_at,
        events.trip_started_at,
        events.received_at,
        events.processed_at,
        cast(date_trunc('hour', events.processed_at) as timestamp) as process_hour,
        events.accepted_at
    from events
    inner join flags on events.event_id = flags.event_id
)

select *
from trip_events
