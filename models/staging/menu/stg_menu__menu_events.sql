-- one row per accepted record of menu/menu_events; what was delivered twice is here
-- twice: the next layer removes it, where only new records are looked at
with records as (
    select
        payload,
        unreadable_fields,
        content_hash,
        segment,
        received_at,
        loaded_at,
        accepted_at,
        commerce_token,
        visitor_token
    from {{ source('menu', 'menu_events') }}
),

typed as (
    select
        visitor_token,
        commerce_token as customer_token,
        {{ json_text('payload', 'event_id') }} as event_id,
        {{ json_text('payload', ['location_id', 'source_menu']) }} as location_id,
        {{ json_text('payload', ['item_id', 'element_clicked']) }} as item_id,
        {{ json_text('payload', 'table_id') }} as table_id,
        {{ json_text('payload', 'kind', is_checked=true) }} as kind,
        {{ json_text('payload', 'section') }} as section,
        {{ json_text('payload', 'menu_version') }} as menu_version,
        {{ try_read(json_text('payload', 'position', is_checked=true), 'integer') }} as position,
        cast(
            {{ try_read(
                json_text('payload', ['dwell_seconds', 'time_spent'], is_checked=true), 'number'
            ) }} as numeric(18, 3)
        ) as dwell_seconds,
        {{ json_text('payload', 'element_clicked') }} is not null as is_older_click,
        {{ try_read(
            json_text('payload', ['occurred_at', 'created_at', 'createdAt']), 'timestamp'
        ) }} as occurred_at,
        content_hash,
        segment,
        received_at,
        loaded_at as processed_at,
        accepted_at
    from records
)

select *
from typed
