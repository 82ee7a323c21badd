-- one row per order line, moment of change and content: every version, with the one that holds now;
-- of conflicting copies of a version the smallest content hash is valid, the losers stay
{{ config(
    materialized='incremental', unique_key='order_line_key', incremental_strategy='delete+insert'
) }}

with new_records as (
    select *
    from {{ ref('stg_orders__order_lines') }}
    {% if is_incremental() -%}
    where {{ newly_accepted(this) }}
    {%- endif %}
),

new_copies as (
    select
        order_id || '|' || cast(line_number as varchar) as order_line_key,
        order_id,
        line_number,
        location_id,
        item_id,
        customer_token as customer_key,
        channel,
        status,
        quantity,
        unit_price_usd,
        is_deleted,
        ordered_at,
        updated_at,
        content_hash,
        received_at,
        accepted_at
    from new_records
    qualify row_number() over (
        partition by order_id, line_number, updated_at, content_hash
        order by accepted_at, segment
    ) = 1
),

{% if is_incremental() -%}
known_copies as (
    select
        order_line_key,
        order_id,
        line_number,
        location_id,
        item_id,
        customer_key,
        channel,
        status,
        quantity,
        unit_price_usd,
        is_deleted,
        ordered_at,
        updated_at,
        content_hash,
        received_at,
        accepted_at
    from {{ this }}
    where order_line_key in (select new_copies.order_line_key from new_copies)
),

unknown_copies as (
    select new_copies.*
    from new_copies
    left join known_copies
        on
            new_copies.order_line_key = known_copies.order_line_key
            and new_copies.updated_at = known_copies.updated_at
            and new_copies.content_hash = known_copies.content_hash
    where known_copies.order_line_key is null
),

copies as (
    select * from unknown_copies
    union all
    select *
    from known_copies
    where order_line_key in (select unknown_copies.order_line_key from unknown_copies)
),
{%- else -%}
copies as (
    select * from new_copies
),
{%- endif %}

ranked as (
    select
        order_line_key,
        order_id,
        line_number,
        location_id,
        item_id,
        customer_key,
        channel,
        status,
        quantity,
        unit_price_usd,
        is_deleted,
        content_hash = min(content_hash) over (
            partition by order_line_key, updated_at
        ) as is_valid,
        row_number() over (
            partition by order_line_key order by updated_at desc, content_hash asc
        ) = 1 as is_current,
        ordered_at,
        updated_at,
        content_hash,
        received_at,
        max(accepted_at) over (partition by order_line_key) as accepted_at
    from copies
)

select *
from ranked
