-- one row per accepted record of fridge/stock_events; what was delivered twice is here
-- twice: the next layer removes it, where only new records are looked at
{% set fields = [
    'event_id',
    'location_id',
    'item_id',
    'basket_id',
    'kind',
    'reason',
    'quantity',
    'unit_price_usd',
    'is_promoted',
    'expires_on',
    'occurred_at'
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
    from {{ source('fridge', 'stock_events') }}
),

typed as (
    select
        commerce_token as customer_token,
        {{ json_text('body', 'event_id', among=fields) }} as event_id,
        {{ json_text('body', 'location_id', among=fields) }} as location_id,
        {{ json_text('body', 'item_id', among=fields) }} as item_id,
        {{ json_text('body', 'basket_id', among=fields) }} as basket_id,
        {{ json_text('body', 'kind', among=fields) }} as kind,
        {{ json_text('body', 'reason', is_checked=true, among=fields) }} as reason,
        cast(
            {{ try_read(json_text('body', 'quantity', among=fields), 'number') }} as numeric(18, 3)
        ) as quantity,
        cast(
            {{ try_read(
                json_text('body', 'unit_price_usd', is_checked=true, among=fields), 'number'
            ) }} as numeric(18, 4)
        ) as unit_price_usd,
        {{ try_read(json_text('body', 'is_promoted', among=fields), 'boolean') }} as is_promoted,
        {{ try_read(json_text('body', 'expires_on', is_checked=true, among=fields), 'date') }}
            as expires_on,
        {{ try_read(json_text('body', 'occurred_at', among=fields), 'timestamp') }} as occurred_at,
        content_hash,
        segment,
        received_at,
        accepted_at
    from records
)

select *
from typed
