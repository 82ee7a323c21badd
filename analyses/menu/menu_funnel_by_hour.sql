-- How many sessions open a menu, view, add and order, hour by hour, and where are they lost?
-- chart: opened_sessions, ordered_sessions by location_id, week_start, local_hour
with funnel as (
    select *
    from {{ ref('rpt_menu_funnel') }}
    where period = 'week'
),

newest as (
    select
        location_id,
        max(period_start) as period_start
    from funnel
    group by location_id
),

answers as (
    select
        funnel.location_id,
        funnel.period_start as week_start,
        funnel.local_hour,
        funnel.opened_sessions,
        funnel.viewed_sessions,
        funnel.added_sessions,
        funnel.ordered_sessions,
        cast(funnel.viewed_sessions as double) / nullif(funnel.opened_sessions, 0) as view_share,
        cast(funnel.added_sessions as double) / nullif(funnel.viewed_sessions, 0) as add_share,
        cast(funnel.ordered_sessions as double) / nullif(funnel.added_sessions, 0) as order_share
    from funnel
    inner join newest
        on
            funnel.location_id = newest.location_id
            and funnel.period_start = newest.period_start
)

select *
from answers
order by location_id, local_hour
