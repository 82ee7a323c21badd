-- one row per location that has sent a stock event or an order line; `changed_at` moves only when
-- it begins (or, after a conflict, ceases) to report stock: then its order lines cease to be sales
{{ config(
    materialized='incremental', unique_key='location_id', incremental_strategy='delete+insert'
) }}

with records as (
    select
        location_id,
        case when is_current then 1 else 0 end as is_stock_event,
        accepted_at
    from {{ ref('int_stock__movements') }}
    {% if is_incremental() -%}
    where accepted_at > {{ last_accepted(this) }}
    {%- endif %}
    union all
    select
        location_id,
        0 as is_stock_event,
        accepted_at
    from {{ ref('int_commerce__order_lines') }}
    {% if is_incremental() -%}
    where accepted_at > {{ last_accepted(this) }}
    {%- endif %}
),

heard as (
    select
        location_id,
        max(is_stock_event) as has_stock_event,
        max(accepted_at) as accepted_at
    from records
    group by location_id
),

{% if is_incremental() -%}
known as (
    select *
    from {{ this }}
),

-- its one stock event may just have lost a conflict
doubtful as (
    select distinct movements.location_id
    from {{ ref('int_stock__movements') }} as movements
    inner join heard on movements.location_id = heard.location_id
    inner join known on movements.location_id = known.location_id
    where movements.is_current and heard.has_stock_event = 0 and known.has_stock_events
),

reporting as (
    select
        heard.location_id,
        heard.has_stock_event = 1 or doubtful.location_id is not null as has_stock_events,
        heard.accepted_at
    from heard
    left join doubtful on heard.location_id = doubtful.location_id
),

compared as (
    select
        reporting.location_id,
        reporting.has_stock_events,
        case
            when known.has_stock_events = reporting.has_stock_events then known.changed_at
            else reporting.accepted_at
        end as changed_at,
        reporting.accepted_at
    from reporting
    left join known on reporting.location_id = known.location_id
)
{%- else -%}
compared as (
    select
        location_id,
        has_stock_event = 1 as has_stock_events,
        accepted_at as changed_at,
        accepted_at
    from heard
)
{%- endif %}

select *
from compared
