-- one row per stock event and content, with its local day and what it does to the stock; what a
-- location outside the catalogue sends is dated in UTC until the catalogue knows better
{{ config(
    materialized='incremental', unique_key='event_id', incremental_strategy='delete+insert'
) }}

with stock_events as (
    select *
    from {{ ref('anon_commerce__stock_events') }}
),

clocks as (
    select *
    from {{ ref('int_catalog__location_clocks') }}
),

touched as (
    select
        stock_events.*,
        coalesce(clocks.time_zone, 'UTC') as time_zone,
        greatest(
            stock_events.accepted_at, coalesce(clocks.accepted_at, stock_events.accepted_at)
        ) as changed_at
    from stock_events
    left join clocks on stock_events.location_id = clocks.location_id
    {% if is_incremental() -%}
    where
        stock_events.accepted_at > {{ last_accepted(this) }}
        or clocks.accepted_at > {{ last_accepted(this) }}
    {%- endif %}
),

movements as (
    select
        event_id,
        content_hash,
        location_id,
        item_id,
        customer_key,
        md5(location_id || '|' || coalesce('b' || basket_id, 'e' || event_id)) as basket_key,
        kind,
        reason,
        quantity,
        case
            when kind in ('restocked', 'put_back') then quantity
            when kind in ('taken', 'discarded') then -quantity
            else 0
        end as stock_change,
        unit_price_usd,
        coalesce(is_promoted, false) as is_promoted,
        is_current,
        expires_on,
        cast({{ local_time('occurred_at', 'time_zone') }} as date) as stock_date,
        occurred_at,
        changed_at as accepted_at
    from touched
)

select *
from movements
