-- one row per menu event and content, with its session and with what tells that no person clicked;
-- all clicks of a visitor at a location are computed anew together, because a late one may join two
-- sessions. A copy that lost a conflict is in no session
{{ config(
    materialized='incremental', unique_key='stream_key', incremental_strategy='delete+insert'
) }}

-- a look at the clocks saves a look at all events
{% set has_new_clocks = is_incremental()
    and last_accepted(ref('int_catalog__location_clocks')) > last_accepted(this) -%}
with clocks as (
    select *
    from {{ ref('int_catalog__location_clocks') }}
),

{% if is_incremental() -%}
touched as (
    select stream_key
    from {{ ref('anon_menu__menu_events') }}
    where accepted_at > {{ last_accepted(this) }}
    {% if has_new_clocks -%}
    union
    select menu_events.stream_key
    from {{ ref('anon_menu__menu_events') }} as menu_events
    inner join clocks on menu_events.location_id = clocks.location_id
    where clocks.accepted_at > {{ last_accepted(this) }}
    {%- endif %}
),

events as (
    select *
    from {{ ref('anon_menu__menu_events') }}
    where stream_key in (select touched.stream_key from touched)
),
{%- else -%}
events as (
    select *
    from {{ ref('anon_menu__menu_events') }}
),
{%- endif %}

in_order as (
    select
        menu_event_key,
        stream_key,
        item_id,
        kind,
        section,
        position,
        lag(occurred_at) over (
            partition by stream_key order by occurred_at, menu_event_key
        ) as previous_at,
        -- a double send has another id; with the same one it is a delivery again, removed before
        lag(occurred_at) over (
            partition by stream_key, kind, item_id, section, position
            order by occurred_at, menu_event_key
        ) as same_before_at,
        occurred_at
    from events
    where is_current
),

numbered as (
    select
        menu_event_key,
        stream_key,
        item_id,
        kind,
        sum(
            case
                when
                    previous_at is null
                    or occurred_at > {{ dbt.dateadd(
                        'minute', var('menu_session_gap_minutes'), 'previous_at'
                    ) }}
                    then 1
                else 0
            end
        ) over (
            partition by stream_key order by occurred_at, menu_event_key
            rows between unbounded preceding and current row
        ) as session_number,
        same_before_at is not null
        and occurred_at <= {{ dbt.dateadd(
            'second', var('menu_double_send_seconds'), 'same_before_at'
        ) }} as is_double_send,
        occurred_at
    from in_order
),

-- The first click names the session: what comes later, however late, does not rename it.
named as (
    select
        menu_event_key,
        item_id,
        kind,
        md5(
            'session|' || first_value(menu_event_key) over (
                partition by stream_key, session_number order by occurred_at, menu_event_key
                rows between unbounded preceding and current row
            )
        ) as session_key,
        is_double_send,
        occurred_at
    from numbered
),

-- what is skipped is passed by scrolling, at whatever speed
deliberate as (
    select
        menu_event_key,
        session_key,
        item_id,
        kind,
        {{ dbt.datediff(
            'lag(occurred_at) over (partition by session_key order by occurred_at, menu_event_key)',
            'occurred_at',
            'millisecond'
        ) }} as gap_milliseconds,
        lag(occurred_at, {{ var('menu_bot_clicks_per_minute') }}) over (
            partition by session_key order by occurred_at, menu_event_key
        ) as many_clicks_ago_at,
        occurred_at
    from named
    where kind != 'item_skipped' and not is_double_send
),

first_views as (
    select
        menu_event_key,
        session_key,
        occurred_at
    from deliberate
    where kind = 'item_viewed'
    qualify row_number() over (
        partition by session_key, item_id order by occurred_at, menu_event_key
    ) = 1
),

spaced_views as (
    select
        session_key,
        lag(occurred_at, {{ var('menu_bot_items_per_minute') }}) over (
            partition by session_key order by occurred_at, menu_event_key
        ) as many_items_ago_at,
        occurred_at
    from first_views
),

view_rates as (
    select
        session_key,
        max(
            case
                when occurred_at < {{ dbt.dateadd('minute', 1, 'many_items_ago_at') }} then 1
                else 0
            end
        ) as is_fast
    from spaced_views
    group by session_key
),

rhythms as (
    select
        session_key,
        max(
            case
                when occurred_at < {{ dbt.dateadd('minute', 1, 'many_clicks_ago_at') }} then 1
                else 0
            end
        ) as is_fast,
        count(gap_milliseconds) as gaps,
        avg(cast(gap_milliseconds as double)) as mean_gap,
        stddev_pop(cast(gap_milliseconds as double)) as deviation
    from deliberate
    group by session_key
),

judged as (
    select
        rhythms.session_key,
        case
            when rhythms.is_fast = 1 then 'click_rate'
            when view_rates.is_fast = 1 then 'item_rate'
            when
                rhythms.gaps >= {{ var('menu_bot_regular_gaps') }}
                and rhythms.mean_gap > 0
                and rhythms.deviation
                <= {{ var('menu_bot_regular_share') }} * rhythms.mean_gap
                then 'regular_gaps'
        end as bot_reason
    from rhythms
    left join view_rates on rhythms.session_key = view_rates.session_key
),

sessionised as (
    select
        events.menu_event_key,
        events.stream_key,
        named.session_key,
        events.location_id,
        events.item_id,
        events.visitor_key,
        events.customer_key,
        events.kind,
        events.section,
        events.menu_version,
        judged.bot_reason,
        events.position,
        events.dwell_seconds,
        cast(extract(hour from {{ local_time(
            'events.occurred_at', "coalesce(clocks.time_zone, 'UTC')"
        ) }}) as integer) as local_hour,
        events.is_current,
        coalesce(named.is_double_send, false) as is_double_send,
        judged.bot_reason is not null as is_bot,
        cast(
            {{ local_time('events.occurred_at', "coalesce(clocks.time_zone, 'UTC')") }} as date
        ) as event_date,
        events.occurred_at,
        events.processed_at,
        max(
            greatest(events.accepted_at, coalesce(clocks.accepted_at, events.accepted_at))
        ) over (partition by events.stream_key) as accepted_at
    from events
    left join named on events.is_current and events.menu_event_key = named.menu_event_key
    left join judged on named.session_key = judged.session_key
    left join clocks on events.location_id = clocks.location_id
)

select *
from sessionised
