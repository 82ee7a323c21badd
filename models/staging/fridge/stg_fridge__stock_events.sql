-- one row per accepted record of fridge/stock_events; what was delivered twice is here
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
    from {{ source('fridge', 'stock_events') }}
),

typed as (
    select
        commerce_token as customer_token,
        {{ json_text('payload', 'event_id') }} as event_id,
        {{ json_text('payload', 'location_id') }} as location_id,
        {{ json_text('payload', 'item_id') }} as item_id,
        {{ json_text('payload', 'basket_id') }} as basket_id,
        {{ json_text('payload', 'kind') }} as kind,
        {{ json_text('payload', 'reason', is_checked=true) }} as reason,
        cast(
            {{ try_read(json_text('payload', 'quantity'), 'number') }} as numeric(18, 3)
        ) as quantity,
        cast(
            {{ try_read(json_text('payload', 'unit_price_usd', is_checked=true), 'number') }}
            as numeric(18, 4)
        ) as unit_price_usd,
        {{ try_read(json_text('payload', 'is_promoted'), 'boolean') }} as is_promoted,
        {{ try_read(json_text('payload', 'expires_on', is_checked=true), 'date') }} as expires_on,
        {{ try_read(json_text('payload', 'occurred_at'), 'timestamp') }} as occurred_at,
        content_hash,
        segment,
        received_at,
        accepted_at
    from records
)

select *
from typed
