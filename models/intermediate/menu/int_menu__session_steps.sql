-- one row per session with a visitor, without bots: the furthest step that it reached, and the
-- local hour in which it began
with events as (
    select *
    from {{ ref('int_menu__sessionised_events') }}
    where is_current and not is_bot and visitor_key is not null
),

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
        location_id,
        visitor_key,
        local_hour,
        event_date
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
        starts.location_id,
        starts.visitor_key,
        case reached.step_number
            when 3 then 'ordered'
            when 2 then 'added'
            when 1 then 'viewed'
            else 'opened'
        end as furthest_step,
        starts.local_hour,
        starts.event_date
    from starts
    inner join reached on starts.session_key = reached.session_key
)

select *
from steps
