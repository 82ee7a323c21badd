-- one row per location, item at its place on the menu (or section as a whole) and period that is
-- over: what people stop at, what they skip, what turns into an order. Without bots and double
-- sends; a count of fewer than `minimum_people` visitors, shown or left over, is null
with clicks as (
    select *
    from {{ ref('int_menu__item_clicks') }}
),

shown_periods as (
    select *
    from {{ ref('int_menu__shown_periods') }}
    where measure in ('views', 'dwells', 'skips', 'adds')
),

-- what a period has nothing of shows as none
shown as (
    select
        cell_key,
        period,
        min(case when measure = 'views' and not is_shown then 0 else 1 end) as has_views,
        min(case when measure = 'dwells' and not is_shown then 0 else 1 end) as has_dwells,
        min(case when measure = 'skips' and not is_shown then 0 else 1 end) as has_skips,
        min(case when measure = 'adds' and not is_shown then 0 else 1 end) as has_adds,
        period_start
    from shown_periods
    group by cell_key, period, period_start
),

daily as (
    select
        cell_key,
        location_id,
        scope,
        section,
        item_id,
        position,
        sum(case when measure = 'views' then 1 else 0 end) as views,
        sum(case when measure = 'dwells' then 1 else 0 end) as dwells,
        sum(dwell_seconds) as dwell_seconds,
        sum(case when measure = 'skips' then 1 else 0 end) as skips,
        sum(case when measure = 'adds' then 1 else 0 end) as adds,
        sum(case when part = 'ordered' then 1 else 0 end) as orders,
        event_date
    from clicks
    group by cell_key, location_id, scope, section, item_id, position, event_date
),

periods as (
    {%- for period in ['day', 'week', 'month', 'quarter'] %}
    select
        cell_key,
        location_id,
        scope,
        section,
        item_id,
        position,
        '{{ period }}' as period,
        sum(views) as views,
        sum(dwells) as dwells,
        sum(dwell_seconds) as dwell_seconds,
        sum(skips) as skips,
        sum(adds) as adds,
        sum(orders) as orders,
        cast({{ dbt.date_trunc(period, 'event_date') }} as date) as period_start
    from daily
    group by
        cell_key, location_id, scope, section, item_id, position,
        cast({{ dbt.date_trunc(period, 'event_date') }} as date)
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

menu_items as (
    select
        md5(
            periods.cell_key || '|' || periods.period || '|'
            || cast(periods.period_start as varchar)
        ) as menu_item_key,
        periods.location_id,
        periods.scope,
        periods.section,
        periods.item_id,
        periods.period,
        periods.position,
        case when shown.has_views = 1 then cast(periods.views as bigint) end as view_count,
        case when shown.has_skips = 1 then cast(periods.skips as bigint) end as skip_count,
        case
            when shown.has_dwells = 1
                then cast(periods.dwell_seconds as double) / nullif(periods.dwells, 0)
        end as mean_dwell_seconds,
        case when shown.has_adds = 1 then cast(periods.adds as bigint) end as add_count,
        case when shown.has_adds = 1 then cast(periods.orders as bigint) end as order_count,
        case
            when shown.has_adds = 1 and shown.has_views = 1
                then cast(periods.orders as double) / nullif(periods.views, 0)
        end as order_rate,
        least(shown.has_views, shown.has_dwells, shown.has_skips, shown.has_adds) = 0
            as is_suppressed,
        periods.period_start
    from periods
    inner join shown
        on
            periods.cell_key = shown.cell_key
            and periods.period = shown.period
            and periods.period_start = shown.period_start
)

select *
from menu_items
