-- one row per accepted record of orders/order_lines; what was delivered twice is here
-- twice: the next layer removes it, where only new records are looked at
with records as (
    select
        payload,
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
        {{ json_text('payload', 'order_id') }} as order_id,
        {{ try_read(json_text('payload', 'line_number'), 'integer') }} as line_number,
        {{ json_text('payload', 'location_id') }} as location_id,
        {{ json_text('payload', 'item_id') }} as item_id,
        {{ json_text('payload', 'channel', is_checked=true) }} as channel,
        {{ json_text('payload', 'status') }} as status,
        cast(
            {{ try_read(json_text('payload', 'quantity'), 'number') }} as numeric(18, 3)
        ) as quantity,
        cast(
            {{ try_read(json_text('payload', 'unit_price_usd', is_checked=true), 'number') }}
            as numeric(18, 4)
        ) as unit_price_usd,
        coalesce({{ try_read(json_text('payload', 'is_deleted'), 'boolean') }}, false)
            as is_deleted,
        {{ try_read(json_text('payload', 'ordered_at'), 'timestamp') }} as ordered_at,
        {{ try_read(json_text('payload', 'updated_at'), 'timestamp') }} as updated_at,
        content_hash,
        segment,
        received_at,
        accepted_at
    from records
)

select *
from typed
