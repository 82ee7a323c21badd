-- one row per stock event and content: of an event's conflicting copies the smallest content hash
-- is current; the losers stay, so that what they had touched is recomputed when they lose
{{ config(materialized='incremental', unique_key='event_id', incremental_strategy='delete+insert') }}

with new_records as (
    select *
    from {{ ref('stg_fridge__stock_events') }}
    {% if is_incremental() -%}
    where {{ newly_accepted(this) }}
    {%- endif %}
),

new_copies as (
    select
        event_id,
        location_id,
        item_id,
        customer_token as customer_key,
        basket_id,
        kind,
        reason,
        quantity,
        unit_price_usd,
        is_promoted,
        expires_on,
        occurred_at,
        content_hash,
        received_at,
        accepted_at
    from new_records
    qualify row_number() over (
        partition by event_id, content_hash order by received_at, segment, accepted_at
    ) = 1
),

{% if is_incremental() -%}
known_copies as (
    select
        event_id,
        location_id,
        item_id,
        customer_key,
        basket_id,
        kind,
        reason,
        quantity,
        unit_price_usd,
        is_promoted,
        expires_on,
        occurred_at,
        content_hash,
        received_at,
        accepted_at
    from {{ this }}
    where event_id in (select new_copies.event_id from new_copies)
),

unknown_copies as (
    select new_copies.*
    from new_copies
    left join known_copies
        on
            new_copies.event_id = known_copies.event_id
            and new_copies.content_hash = known_copies.content_hash
    where known_copies.event_id is null
),

copies as (
    select * from unknown_copies
    union all
    select *
    from known_copies
    where event_id in (select unknown_copies.event_id from unknown_copies)
),
{%- else -%}
copies as (
    select * from new_copies
),
{%- endif %}

ranked as (
    select
        event_id,
        location_id,
        item_id,
        customer_key,
        basket_id,
        kind,
        reason,
        quantity,
        unit_price_usd,
        is_promoted,
        content_hash = min(content_hash) over (partition by event_id) as is_current,
        expires_on,
        occurred_at,
        content_hash,
        received_at,
        max(accepted_at) over (partition by event_id) as accepted_at
    from copies
)

select *
from ranked
