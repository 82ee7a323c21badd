-- one row per location, local hour of the day in which sessions began, and period that is over: how
-- many sessions opened the menu, viewed an item, added one, ordered. Who gets to a step has been at
-- those before it. Without bots and without clicks of nobody; what is few people's is null
with steps as (
    select *
    from {{ ref('int_menu__session_steps') }}
),

shown_periods as (
    select *
    from {{ ref('int_menu__shown_periods') }}
    where measure in ('sessions', 'steps')
),

shown as (
    select
        cell_key,
        period,
        min(case when measure = 'sessions' and not is_shown then 0 else 1 end) as has_sessions,
        min(case when measure = 'steps' and not is_shown then 0 else 1 end) as has_steps,
        period_start
    from shown_periods
    group by cell_key, period, period_start
),

periods as (
    {%- for period in ['day', 'week', 'month', 'quarter'] %}
    select
        cell_key,
        location_id,
        '{{ period }}' as period,
        local_hour,
        count(*) as opened,
        sum(case when furthest_step in ('viewed', 'added', 'ordered') then 1 else 0 end) as viewed,
        sum(case when furthest_step in ('added', 'ordered') then 1 else 0 end) as added,
        sum(case when furthest_step = 'ordered' then 1 else 0 end) as ordered,
        cast({{ dbt.date_trunc(period, 'event_date') }} as date) as period_start
    from steps
    group by
        cell_key, location_id, local_hour,
        cast({{ dbt.date_trunc(period, 'event_date') }} as date)
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

funnel as (
    select
        periods.location_id,
        periods.period,
        cast(periods.local_hour as integer) as local_hour,
        case when shown.has_sessions = 1 then cast(periods.opened as bigint) end
            as opened_sessions,
        case when shown.has_steps = 1 then cast(periods.viewed as bigint) end as viewed_sessions,
        case when shown.has_steps = 1 then cast(periods.added as bigint) end as added_sessions,
        case when shown.has_steps = 1 then cast(periods.ordered as bigint) end as ordered_sessions,
        case
            when shown.has_steps = 1 then cast(periods.ordered as double) / periods.opened
        end as order_rate,
        shown.has_steps = 0 as is_suppressed,
        periods.period_start
    from periods
    inner join shown
        on
            periods.cell_key = shown.cell_key
            and periods.period = shown.period
            and periods.period_start = shown.period_start
)

select *
from funnel
