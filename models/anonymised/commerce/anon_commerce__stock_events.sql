-- one row per stock event and content: of an event's conflicting copies the smallest content hash
-- is current; the losers stay, so that what they had touched is recomputed when they lose
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
            from {{ ref('stg_fridge__stock_events') }} as new_records
            where {{ newly_accepted(this) }}
        )
),

deliveries as (
    select event_id
    from {{ ref('stg_fridge__stock_events') }}
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
    from {{ ref('stg_fridge__stock_events') }}
    group by event_id
    having count(*) > 1
),
{%- endif %}

lone_copies as (
    select
        records.event_id,
        records.location_id,
        records.item_id,
        records.customer_token as customer_key,
        records.basket_id,
        records.kind,
        records.reason,
        records.quantity,
        records.unit_price_usd,
        records.is_promoted,
        1 as copy_number,
        records.expires_on,
        records.occurred_at,
        records.content_hash,
        records.received_at,
        records.accepted_at
    from {{ ref('stg_fridge__stock_events') }} as records
    left join contested on records.event_id = contested.event_id
    where
        contested.event_id is null
        and {{ newly_accepted(this) if is_incremental() else 'true' }}
),

contested_copies as (
    select
        records.event_id,
        records.location_id,
        records.item_id,
        records.customer_token as customer_key,
        records.basket_id,
        records.kind,
        records.reason,
        records.quantity,
        records.unit_price_usd,
        records.is_promoted,
        records.expires_on,
        records.occurred_at,
        records.content_hash,
        records.received_at,
        1 as is_new,
        records.accepted_at
    from {{ ref('stg_fridge__stock_events') }} as records
    inner join contested on records.event_id = contested.event_id
    {% if is_incremental() -%}
    where {{ newly_accepted(this) }}
    union all
    select
        known_copies.event_id,
        known_copies.location_id,
        known_copies.item_id,
        known_copies.customer_key,
        known_copies.basket_id,
        known_copies.kind,
        known_copies.reason,
        known_copies.quantity,
        known_copies.unit_price_usd,
        known_copies.is_promoted,
        known_copies.expires_on,
        known_copies.occurred_at,
        known_copies.content_hash,
        known_copies.received_at,
        0 as is_new,
        known_copies.accepted_at
    from known_copies
    {%- endif %}
),

different_copies as (
    select *
    from contested_copies
    qualify row_number() over (
        partition by event_id, content_hash order by is_new, accepted_at
    ) = 1
),

numbered as (
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
        cast(
            row_number() over (partition by event_id order by content_hash) as integer
        ) as copy_number,
        expires_on,
        occurred_at,
        content_hash,
        received_at,
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
        copy_number = 1 as is_current
    from copies
)

select *
from marked
