-- one row per session with a visitor, without bots: the furthest step that it reached, and the
-- local hour in which it began. Streams with new clicks are computed anew; one that has nothing
-- left has a row without a date, which is taken out
{{ config(
    materialized='incremental',
    unique_key='stream_key',
    incremental_strategy='delete+insert',
    post_hook="delete from {{ this }} where event_date is null"
) }}

{% if is_incremental() -%}
with touched as (
    select distinct stream_key
    from {{ ref('int_menu__sessionised_events') }}
    where accepted_at > {{ last_accepted(this) }}
),

events as (
    select *
    from {{ ref('int_menu__sessionised_events') }}
    where
        is_current and not is_bot and visitor_key is not null
        and stream_key in (select touched.stream_key from touched)
),
{%- else -%}
with events as (
    select *
    from {{ ref('int_menu__sessionised_events') }}
    where is_current and not is_bot and visitor_key is not null
),
{%- endif %}

reached as (
    select
        session_key,
        max(
            case kind
                when 'order_placed' then 3
                when 'item_added' then 2
                when 'item_viewed' then 1
                else 0
            end
        ) as step_number
    from events
    group by session_key
),

starts as (
    select
        session_key,
        stream_key,
        location_id,
        visitor_key,
        local_hour,
        event_date,
        accepted_at
    from events
    qualify row_number() over (partition by session_key order by occurred_at, menu_event_key) = 1
),

steps as (
    select
        starts.session_key,
        md5(
            'hour|' || length(starts.location_id) || ':' || starts.location_id || '|'
            || starts.local_hour
        ) as cell_key,
        starts.stream_key,
        starts.location_id,
        starts.visitor_key,
        case reached.step_number
            when 3 then 'ordered'
            when 2 then 'added'
            when 1 then 'viewed'
            else 'opened'
        end as furthest_step,
        starts.local_hour,
        starts.event_date,
        starts.accepted_at
    from starts
    inner join reached on starts.session_key = reached.session_key
)

select *
from steps
{%- if is_incremental() %}
union all
select
    cast(null as varchar) as session_key,
    cast(null as varchar) as cell_key,
    touched.stream_key,
    cast(null as varchar) as location_id,
    cast(null as varchar) as visitor_key,
    cast(null as varchar) as furthest_step,
    cast(null as integer) as local_hour,
    cast(null as date) as event_date,
    cast(null as timestamp) as accepted_at
from touched
left join steps on touched.stream_key = steps.stream_key
where steps.stream_key is null
{%- endif %}
