-- one row per accepted record of orders/order_lines; what was delivered twice is here
-- twice: the next layer removes it, where only new records are looked at
{% set fields = [
    'order_id',
    'line_number',
    'location_id',
    'item_id',
    'channel',
    'status',
    'quantity',
    'unit_price_usd',
    'is_deleted',
    'ordered_at',
    'updated_at'
] %}

with records as (
    select
        {{ json_texts('payload', fields) }} as body,
        unreadable_fields,
        content_hash,
        segment,
        received_at,
        accepted_at,
        commerce_token
    from {{ source('orders', 'order_lines') }}
),

typed as (
    select
        commerce_token as customer_token,
        {{ json_text('body', 'order_id', among=fields) }} as order_id,
        {{ try_read(json_text('body', 'line_number', among=fields), 'integer') }} as line_number,
        {{ json_text('body', 'location_id', among=fields) }} as location_id,
        {{ json_text('body', 'item_id', among=fields) }} as item_id,
        {{ json_text('body', 'channel', is_checked=true, among=fields) }} as channel,
        {{ json_text('body', 'status', among=fields) }} as status,
        cast(
            {{ try_read(json_text('body', 'quantity', among=fields), 'number') }} as numeric(18, 3)
        ) as quantity,
        cast(
            {{ try_read(
                json_text('body', 'unit_price_usd', is_checked=true, among=fields), 'number'
            ) }} as numeric(18, 4)
        ) as unit_price_usd,
        coalesce({{ try_read(json_text('body', 'is_deleted', among=fields), 'boolean') }}, false)
            as is_deleted,
        {{ try_read(json_text('body', 'ordered_at', among=fields), 'timestamp') }} as ordered_at,
        {{ try_read(json_text('body', 'updated_at', among=fields), 'timestamp') }} as updated_at,
        content_hash,
        segment,
        received_at,
        accepted_at
    from records
)

select *
from typed
