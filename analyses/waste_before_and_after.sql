-- What did waste and empty shelves cost before a change and after it, per day? (var change_date)
-- chart: wasted_units_a_day by scope_id, side
with waste_and_availability as (
    select *
    from {{ ref('rpt_waste_and_availability') }}
    where period = 'day' and scope in ('network', 'region')
),

-- the newest day may not be over
bounds as (
    select
        {% if var('change_date', none) -%}
        cast('{{ var("change_date") }}' as date) as change_date,
        {% else -%}
        greatest(
            max(period_start) - 28,
            min(period_start) + cast(floor((max(period_start) - min(period_start)) / 2) as integer)
        ) as change_date,
        {% endif -%}
        max(period_start) as open_date
    from waste_and_availability
),

-- as many days on one side as on the other, whole weeks where there are any
spans as (
    select
        bounds.change_date,
        bounds.open_date,
        bounds.open_date - bounds.change_date as days_after,
        bounds.change_date - (
            select min(waste_and_availability.period_start) from waste_and_availability
        ) as days_before
    from bounds
),

windows as (
    select
        change_date,
        open_date,
        cast(
            case
                when least(days_after, days_before) >= 7
                    then least(days_after, days_before) - least(days_after, days_before) % 7
                else least(days_after, days_before)
            end as integer
        ) as span_days
    from spans
),

sides as (
    select
        waste_and_availability.scope,
        waste_and_availability.scope_id,
        case
            when waste_and_availability.period_start < windows.change_date then 'before'
            else 'after'
        end as side,
        windows.change_date,
        windows.span_days,
        sum(waste_and_availability.sold_units) as sold_units,
        sum(waste_and_availability.wasted_units) as wasted_units,
        sum(waste_and_availability.waste_cost_usd) as waste_cost_usd,
        sum(waste_and_availability.lost_margin_usd) as lost_margin_usd
    from waste_and_availability
    cross join windows
    where
        waste_and_availability.period_start >= windows.change_date - windows.span_days
        and waste_and_availability.period_start < windows.change_date + windows.span_days
    group by
        waste_and_availability.scope,
        waste_and_availability.scope_id,
        case
            when waste_and_availability.period_start < windows.change_date then 'before'
            else 'after'
        end,
        windows.change_date,
        windows.span_days
),

answers as (
    select
        scope,
        scope_id,
        side,
        change_date,
        span_days,
        sold_units / span_days as sold_units_a_day,
        wasted_units / span_days as wasted_units_a_day,
        cast(wasted_units as double) / nullif(cast(sold_units + wasted_units as double), 0)
            as wasted_share,
        waste_cost_usd / span_days as waste_cost_usd_a_day,
        lost_margin_usd / span_days as lost_margin_usd_a_day
    from sides
)

select *
from answers
order by scope asc, scope_id asc, side desc
