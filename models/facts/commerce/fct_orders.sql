-- one row per order line as it is now; lines that were deleted are taken out
{{ config(
    unique_key='order_line_key',
    incremental_strategy='delete+insert',
    post_hook="delete from {{ this }} where status = 'deleted'"
) }}

with order_lines as (
    select *
    from {{ ref('int_commerce__order_lines') }}
),

orders as (
    select
        order_line_key,
        order_id,
        cast(line_number as bigint) as line_number,
        location_id,
        item_id,
        customer_key,
        coalesce(channel, 'unknown') as channel,
        case when is_deleted then 'deleted' else status end as status,
        cast(quantity as numeric(18, 3)) as quantity,
        cast(unit_price_usd as numeric(18, 4)) as unit_price_usd,
        order_date,
        ordered_at,
        picked_up_at,
        cancelled_at,
        updated_at,
        accepted_at
    from order_lines
    {% if is_incremental() -%}
    where accepted_at > {{ last_accepted(this) }}
    {%- endif %}
)

select *
from orders
