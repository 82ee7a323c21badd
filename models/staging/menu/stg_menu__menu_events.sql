-- one row per accepted record of menu/menu_events; what was delivered twice is here
-- twice: the next layer removes it, where only new records are looked at
{% set fields = [
    'event_id',
    'location_id',
    'source_menu',
    'item_id',
    'element_clicked',
    'table_id',
    'kind',
    'section',
    'menu_version',
    'position',
    'dwell_seconds',
    'time_spent',
    'occurred_at',
    'created_at',
    'createdAt'
] %}

with records as (
    select
        {{ json_texts('payload', fields) }} as body,
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
        {{ json_text('body', 'event_id', among=fields) }} as event_id,
        {{ json_text('body', ['location_id', 'source_menu'], among=fields) }} as location_id,
        {{ json_text('body', ['item_id', 'element_clicked'], among=fields) }} as item_id,
        {{ json_text('body', 'table_id', among=fields) }} as table_id,
        {{ json_text('body', 'kind', is_checked=true, among=fields) }} as kind,
        {{ json_text('body', 'section', among=fields) }} as section,
        {{ json_text('body', 'menu_version', among=fields) }} as menu_version,
        {{ try_read(json_text('body', 'position', is_checked=true, among=fields), 'integer') }}
            as position,
        cast(
            {{ try_read(
                json_text('body', ['dwell_seconds', 'time_spent'], is_checked=true, among=fields),
                'number'
            ) }} as numeric(18, 3)
        ) as dwell_seconds,
        {{ json_text('body', 'element_clicked', among=fields) }} is not null as is_older_click,
        {{ try_read(
            json_text('body', ['occurred_at', 'created_at', 'createdAt'], among=fields), 'timestamp'
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
