-- one row per trip event and content: of an event's conflicting copies the smallest content hash is
-- current; the losers stay, so that the trips that they had touched are recomputed when they lose
{{ config(
    materialized='incremental', unique_key='event_id', incremental_strategy='delete+insert'
) }}

{% set columns = [
    'event_id',
    'trip_id',
    'trip_external_id',
    'route_session_id',
    'geofence_id',
    'driver_token as driver_key',
    'account_token as account_key',
    'trip_account_token as trip_account_key',
    'event_type',
    'route_session_type',
    'latitude',
    'longitude',
    'is_live',
    'has_own_id',
    'occurred_at',
    'trip_created_at',
    'trip_updated_at',
    'trip_started_at',
    'content_hash',
    'received_at',
    'processed_at'
] %}

{% set ties = ['accepted_at', 'processed_at'] %}

with {{ event_copies(ref('stg_trips__trip_events'), columns, ties) }},

marked as (
    select
        *,
        copy_number = 1 as is_current,
        -- what belongs to no trip is put in order by driver and day
        case
            when trip_id is not null then 'trip ' || trip_id
            when driver_key is not null
                then 'driver ' || driver_key || ' ' || cast(cast(occurred_at as date) as varchar)
            else 'event ' || event_id
        end as track_key
    from copies
)

select *
from marked
