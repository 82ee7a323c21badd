-- one row per stock event and content: of an event's conflicting copies the smallest content hash
-- is current; the losers stay, so that what they had touched is recomputed when they lose
{{ config(
    materialized='incremental', unique_key='event_id', incremental_strategy='delete+insert'
) }}

{% set columns = [
    'event_id',
    'location_id',
    'item_id',
    'customer_token as customer_key',
    'basket_id',
    'kind',
    'reason',
    'quantity',
    'unit_price_usd',
    'is_promoted',
    'expires_on',
    'occurred_at',
    'content_hash',
    'received_at'
] %}

with {{ event_copies(ref('stg_fridge__stock_events'), columns, ['accepted_at']) }},

marked as (
    select
        *,
        copy_number = 1 as is_current
    from copies
)

select *
from marked
