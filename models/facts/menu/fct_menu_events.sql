-- one row per menu event; clicks of bots and double sends are here too, flagged
{{ config(unique_key='menu_event_key', incremental_strategy='delete+insert') }}

with sessionised_events as (
    select *
    from {{ ref('int_menu__sessionised_events') }}
    where
        is_current
        and {{ 'accepted_at > ' ~ last_accepted(this) if is_incremental() else 'true' }}
),

menu_events as (
    select
        menu_event_key,
        session_key,
        location_id,
        item_id,
        visitor_key,
        kind,
        section,
        menu_version,
        bot_reason,
        position,
        dwell_seconds,
        is_double_send,
        is_bot,
        event_date,
        occurred_at,
        cast(date_trunc('hour', processed_at) as timestamp) as process_hour,
        accepted_at
    from sessionised_events
)

select *
from menu_events
