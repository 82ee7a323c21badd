-- one row per trip event and content: of an event's conflicting copies the smallest content hash is
-- current; the losers stay, so that the trips that they had touched are recomputed when they lose
{{ config(
    materialized='incremental', unique_key='event_id', incremental_strategy='delete+insert'
) }}

-- nearly all events come once, so only the few that do not are sorted and compared; each step
-- imports the events for itself, because DuckDB copies what is used twice
{% if is_incremental() -%}
with known_copies as (
    select known.*
    from {{ this }} as known
    where
        known.event_id in (
            select new_records.event_id
            from {{ ref('stg_trips__trip_events') }} as new_records
            where {{ newly_accepted(this) }}
        )
),

deliveries as (
    select event_id
    from {{ ref('stg_trips__trip_events') }}
    where {{ newly_accepted(this) }}
    union all
    select event_id
    from known_copies
),

contested as (
    select event_id
    from deliveries
    group by event_id
    having count(*) > 1
),
{%- else -%}
with contested as (
    select event_id
    from {{ ref('stg_trips__trip_events') }}
    group by event_id
    having count(*) > 1
),
{%- endif %}

lone_copies as (
    select
        records.event_id,
        records.trip_id,
        records.trip_external_id,
        records.route_session_id,
        records.geofence_id,
        records.driver_token as driver_key,
        records.account_token as account_key,
        records.trip_account_token as trip_account_key,
        records.event_type,
        records.route_session_type,
        records.latitude,
        records.longitude,
        1 as copy_number,
        records.is_live,
        records.has_own_id,
        records.occurred_at,
        records.trip_created_at,
        records.trip_updated_at,
        records.trip_started_at,
        records.content_hash,
        records.received_at,
        records.processed_at,
        records.accepted_at
    from {{ ref('stg_trips__trip_events') }} as records
    left join contested on records.event_id = contested.event_id
    where
        contested.event_id is null
        and {{ newly_accepted(this) if is_incremental() else 'true' }}
),

contested_copies as (
    select
        records.event_id,
        records.trip_id,
        records.trip_external_id,
        records.route_session_id,
        records.geofence_id,
        records.driver_token as driver_key,
        records.account_token as account_key,
        records.trip_account_token as trip_account_key,
        records.event_type,
        records.route_session_type,
        records.latitude,
        records.longitude,
        records.is_live,
        records.has_own_id,
        records.occurred_at,
        records.trip_created_at,
        records.trip_updated_at,
        records.trip_started_at,
        records.content_hash,
        records.received_at,
        records.processed_at,
        1 as is_new,
        records.accepted_at
    from {{ ref('stg_trips__trip_events') }} as records
    inner join contested on records.event_id = contested.event_id
    {% if is_incremental() -%}
    where {{ newly_accepted(this) }}
    union all
    select
        known_copies.event_id,
        known_copies.trip_id,
        known_copies.trip_external_id,
        known_copies.route_session_id,
        known_copies.geofence_id,
        known_copies.driver_key,
        known_copies.account_key,
        known_copies.trip_account_key,
        known_copies.event_type,
        known_copies.route_session_type,
        known_copies.latitude,
        known_copies.longitude,
        known_copies.is_live,
        known_copies.has_own_id,
        known_copies.occurred_at,
        known_copies.trip_created_at,
        known_copies.trip_updated_at,
        known_copies.trip_started_at,
        known_copies.content_hash,
        known_copies.received_at,
        known_copies.processed_at,
        0 as is_new,
        known_copies.accepted_at
    from known_copies
    {%- endif %}
),

different_copies as (
    select *
    from contested_copies
    qualify row_number() over (
        partition by event_id, content_hash order by is_new, accepted_at, received_at, processed_at
    ) = 1
),

numbered as (
    select
        event_id,
        trip_id,
        trip_external_id,
        route_session_id,
        geofence_id,
        driver_key,
        account_key,
        trip_account_key,
        event_type,
        route_session_type,
        latitude,
        longitude,
        cast(
            row_number() over (partition by event_id order by content_hash) as integer
        ) as copy_number,
        is_live,
        has_own_id,
        occurred_at,
        trip_created_at,
        trip_updated_at,
        trip_started_at,
        content_hash,
        received_at,
        processed_at,
        max(accepted_at) over (partition by event_id) as accepted_at
    from different_copies
    -- what was only delivered again changes nothing
    qualify max(is_new) over (partition by event_id) = 1
),

copies as (
    select * from lone_copies
    union all
    select * from numbered
),

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
