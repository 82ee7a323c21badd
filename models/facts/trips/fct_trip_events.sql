-- one row per trip event; a position that cannot be right is flagged, never dropped. Of a track
-- that a new or late event touches every event is written anew: flags of others may have changed
{{ config(unique_key='event_id', incremental_strategy='delete+insert') }}

{% if is_incremental() -%}
with touched as (
    -- a copy that lost counts, too: its event may have been of another trip
    select track_key
    from {{ ref('anon_trips__trip_events') }}
    where accepted_at > {{ last_accepted(this) }}
),

tracks as (
    select
        event_id,
        position_flag
    from {{ ref('int_trips__tracks') }}
    where track_key in (select touched.track_key from touched)
),
{%- else -%}
with tracks as (
    select
        event_id,
        position_flag
    from {{ ref('int_trips__tracks') }}
),
{%- endif %}

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
        tracks.position_flag,
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
    from {{ ref('anon_trips__trip_events') }} as events
    inner join tracks on events.event_id = tracks.event_id
    where
        events.is_current
        and {{
            'events.track_key in (select touched.track_key from touched)'
            if is_incremental() else 'true'
        }}
)

select *
from trip_events
