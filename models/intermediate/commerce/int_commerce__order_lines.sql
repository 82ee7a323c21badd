-- one row per order line: the version that holds now, with the moments it was picked up and
-- cancelled; deleted lines stay, so that what was built on them is taken back
{{ config(
    materialized='incremental', unique_key='order_line_key', incremental_strategy='delete+insert'
) }}

-- each step imports the versions for itself: DuckDB copies what is used twice
with clocks as (
    select *
    from {{ ref('int_catalog__location_clocks') }}
),

{% if is_incremental() -%}
touched as (
    select order_line_key
    from {{ ref('anon_commerce__order_lines') }}
    where accepted_at > {{ last_accepted(this) }}
    union
    select order_line_key
    from {{ ref('anon_commerce__order_lines') }}
    where location_id in (
        select clocks.location_id
        from clocks
        where clocks.accepted_at > {{ last_accepted(this) }}
    )
),
{%- else -%}
touched as (
    select distinct order_line_key
    from {{ ref('anon_commerce__order_lines') }}
),
{%- endif %}

moments as (
    select
        order_line_key,
        min(case when status = 'picked_up' then updated_at end) as picked_up_at,
        min(case when status = 'cancelled' then updated_at end) as cancelled_at
    from {{ ref('anon_commerce__order_lines') }}
    where
        is_valid
        and status in ('picked_up', 'cancelled')
        and order_line_key in (select touched.order_line_key from touched)
    group by order_line_key
),

current_lines as (
    select *
    from {{ ref('anon_commerce__order_lines') }}
    where is_current and order_line_key in (select touched.order_line_key from touched)
),

order_lines as (
    select
        current_lines.order_line_key,
        current_lines.order_id,
        current_lines.line_number,
        current_lines.location_id,
        current_lines.item_id,
        current_lines.customer_key,
        current_lines.channel,
        current_lines.status,
        current_lines.quantity,
        current_lines.unit_price_usd,
        current_lines.is_deleted,
        current_lines.ordered_at,
        -- a moment that a later version took back did not happen
        case
            when current_lines.status in ('picked_up', 'refunded') then moments.picked_up_at
        end as picked_up_at,
        case
            when current_lines.status = 'cancelled' then moments.cancelled_at
        end as cancelled_at,
        cast(
            {{ local_time('current_lines.ordered_at', "coalesce(clocks.time_zone, 'UTC')") }}
            as date
        ) as order_date,
        case
            when current_lines.status in ('picked_up', 'refunded')
                then cast(
                    {{ local_time('moments.picked_up_at', "coalesce(clocks.time_zone, 'UTC')") }}
                    as date
                )
        end as picked_up_date,
        current_lines.updated_at,
        greatest(
            current_lines.accepted_at, coalesce(clocks.accepted_at, current_lines.accepted_at)
        ) as accepted_at
    from current_lines
    left join moments on current_lines.order_line_key = moments.order_line_key
    left join clocks on current_lines.location_id = clocks.location_id
)

select *
from order_lines
