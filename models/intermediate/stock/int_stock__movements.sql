-- one row per stock event and content, with its local day and what it does to the stock; what a
-- location outside the catalogue sends is dated in UTC until the catalogue knows better
{{ config(
    materialized='incremental', unique_key='event_id', incremental_strategy='delete+insert'
) }}

-- a look at the clocks saves a look at all events
{% set has_new_clocks = is_incremental()
    and last_accepted(ref('int_catalog__location_clocks')) > last_accepted(this) -%}
-- each branch imports the events for itself: DuckDB copies what is used twice
with new_events as (
    select *
    from {{ ref('anon_commerce__stock_events') }}
    {% if is_incremental() -%}
    where accepted_at > {{ last_accepted(this) }}
    {%- endif %}
),

clocks as (
    select *
    from {{ ref('int_catalog__location_clocks') }}
),

{% if has_new_clocks -%}
moved_events as (
    select stock_events.event_id
    from {{ ref('anon_commerce__stock_events') }} as stock_events
    inner join clocks on stock_events.location_id = clocks.location_id
    where clocks.accepted_at > {{ last_accepted(this) }}
),

-- all copies of an event come together, for they are replaced together
older_events as (
    select *
    from {{ ref('anon_commerce__stock_events') }}
    where
        accepted_at <= {{ last_accepted(this) }}
        and event_id in (select moved_events.event_id from moved_events)
),

touched as (
    select * from new_events
    union all
    select * from older_events
),
{%- else -%}
touched as (
    select * from new_events
),
{%- endif %}

movements as (
    select
        touched.event_id,
        touched.copy_number,
        touched.location_id,
        touched.item_id,
        touched.customer_key,
        -- the length keeps one location's baskets apart from those of another, whatever the names
        md5(
            cast(length(touched.location_id) as varchar) || '|' || touched.location_id || '|'
            || coalesce('b' || touched.basket_id, 'e' || touched.event_id)
        ) as basket_key,
        touched.kind,
        touched.reason,
        touched.quantity,
        case
            when touched.kind in ('restocked', 'put_back') then touched.quantity
            when touched.kind in ('taken', 'discarded') then -touched.quantity
            else 0
        end as stock_change,
        touched.unit_price_usd,
        touched.is_promoted,
        touched.is_current,
        touched.expires_on,
        cast(
            {{ local_time('touched.occurred_at', "coalesce(clocks.time_zone, 'UTC')") }} as date
        ) as stock_date,
        touched.occurred_at,
        greatest(
            touched.accepted_at, coalesce(clocks.accepted_at, touched.accepted_at)
        ) as accepted_at
    from touched
    left join clocks on touched.location_id = clocks.location_id
)

select *
from movements
