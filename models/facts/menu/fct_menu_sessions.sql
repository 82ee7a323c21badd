-- one row per session: clicks of one visitor at one location with no gap over the var
-- menu_session_gap_minutes, whatever day it is; a click without a visitor is one of its own
{{ config(
    unique_key='stream_key',
    incremental_strategy='delete+insert',
    post_hook="delete from {{ this }} where started_at is null"
) }}

{% set has_new_consents = is_incremental()
    and last_accepted(ref('int_menu__consents')) > last_accepted(this) -%}
with as_of as (
    select as_of_at
    from {{ ref('int_clock__now') }}
),

consents as (
    select *
    from {{ ref('int_menu__consents') }}
),

{% if is_incremental() -%}
touched as (
    select stream_key
    from {{ ref('int_menu__sessionised_events') }}
    where accepted_at > {{ last_accepted(this) }}
    {% if has_new_consents -%}
    union
    select events.stream_key
    from {{ ref('int_menu__sessionised_events') }} as events
    inner join consents on events.customer_key = consents.customer_key
    where consents.accepted_at > {{ last_accepted(this) }}
    {%- endif %}
    union
    -- time has gone on, or was set back
    select known.stream_key
    from {{ this }} as known
    cross join as_of
    where
        known.is_active
        != (
            as_of.as_of_at
            <= {{ dbt.dateadd('minute', var('menu_session_gap_minutes'), 'known.last_event_at') }}
        )
),
{%- endif %}

events as (
    select *
    from {{ ref('int_menu__sessionised_events') }}
    {% if is_incremental() -%}
    where stream_key in (select touched.stream_key from touched)
    {%- endif %}
),

counted as (
    select
        stream_key,
        session_key,
        location_id,
        visitor_key,
        max(bot_reason) as bot_reason,
        -- of several people at one device nobody knows whose clicks came before
        case
            when min(customer_key) = max(customer_key) then min(customer_key)
        end as customer_key,
        sum(case when kind = 'menu_opened' and not is_double_send then 1 else 0 end)
            as menu_open_count,
        sum(case when kind = 'item_viewed' and not is_double_send then 1 else 0 end)
            as item_view_count,
        sum(case when kind = 'item_skipped' and not is_double_send then 1 else 0 end)
            as item_skip_count,
        sum(case when kind = 'item_added' and not is_double_send then 1 else 0 end)
            as item_add_count,
        sum(case when is_double_send then 1 else 0 end) as double_send_count,
        max(case when kind = 'order_placed' then 1 else 0 end) as has_order,
        min(case when is_current then occurred_at end) as started_at,
        max(case when is_current then occurred_at end) as last_event_at,
        max(accepted_at) as accepted_at
    from events
    -- what lost its last click to another stream has a row without a start, which is taken out
    group by stream_key, session_key, location_id, visitor_key
),

viewed_items as (
    select distinct
        session_key,
        {{ json_string('item_id') }} as item_text
    from events
    where is_current and kind = 'item_viewed' and not is_double_send and item_id is not null
),

viewed_lists as (
    select
        session_key,
        '[' || {{ dbt.listagg("item_text", "','", "order by item_text") }} || ']' as viewed_item_ids
    from viewed_items
    group by session_key
),

sessions as (
    select
        coalesce(counted.session_key, counted.stream_key) as session_key,
        counted.stream_key,
        counted.location_id,
        counted.visitor_key,
        case
            when consents.consented_at <= counted.last_event_at then counted.customer_key
        end as customer_key,
        coalesce(viewed_lists.viewed_item_ids, '[]') as viewed_item_ids,
        counted.bot_reason,
        cast(counted.menu_open_count as bigint) as menu_open_count,
        cast(counted.item_view_count as bigint) as item_view_count,
        cast(counted.item_skip_count as bigint) as item_skip_count,
        cast(counted.item_add_count as bigint) as item_add_count,
        cast(counted.double_send_count as bigint) as double_send_count,
        counted.has_order = 1 as has_order,
        as_of.as_of_at
        <= {{ dbt.dateadd('minute', var('menu_session_gap_minutes'), 'counted.last_event_at') }}
            as is_active,
        counted.bot_reason is not null as is_bot,
        counted.started_at,
        case
            when
                as_of.as_of_at
                > {{ dbt.dateadd(
                    'minute', var('menu_session_gap_minutes'), 'counted.last_event_at'
                ) }}
                then counted.last_event_at
        end as ended_at,
        counted.last_event_at,
        greatest(counted.accepted_at, coalesce(consents.accepted_at, counted.accepted_at))
            as accepted_at
    from counted
    cross join as_of
    left join viewed_lists on counted.session_key = viewed_lists.session_key
    left join consents on counted.customer_key = consents.customer_key
)

select *
from sessions
