-- one row per location, item and day, ISO week, month and quarter in which it was on offer, sold or
-- wasted: sums of int_stock__item_days. Only touched periods are added up anew, quarters from
-- months; what is gone stays as a row that says so (is_known = false)
{{ config(
    materialized='incremental',
    unique_key=['location_id', 'item_id', 'period', 'period_start'],
    incremental_strategy='delete+insert'
) }}

with item_days as (
    select *
    from {{ ref('int_stock__item_days') }}
),

{% if is_incremental() -%}
known_periods as (
    select *
    from {{ this }}
),

-- the days that were not over last time have changed without a new record
touched_days as (
    select
        location_id,
        item_id,
        item_date,
        cast({{ dbt.date_trunc('week', 'item_date') }} as date) as week_start,
        cast({{ dbt.date_trunc('quarter', 'item_date') }} as date) as quarter_start,
        accepted_at
    from item_days
    where
        accepted_at > {{ last_accepted(this) }}
        or item_date >= (
            select max(known_periods.period_start) - 2
            from known_periods
            where known_periods.period = 'day' and known_periods.is_known
        )
),
{%- else -%}
touched_days as (
    select
        location_id,
        item_id,
        item_date,
        cast({{ dbt.date_trunc('week', 'item_date') }} as date) as week_start,
        cast({{ dbt.date_trunc('quarter', 'item_date') }} as date) as quarter_start,
        accepted_at
    from item_days
),
{%- endif %}

touched_weeks as (
    select
        location_id,
        item_id,
        week_start,
        max(accepted_at) as accepted_at
    from touched_days
    group by location_id, item_id, week_start
),

touched_quarters as (
    select
        location_id,
        item_id,
        quarter_start,
        max(accepted_at) as accepted_at
    from touched_days
    group by location_id, item_id, quarter_start
),

-- the earliest dates let the engine leave old days where they are
recent_days as (
    select
        *,
        cast({{ dbt.date_trunc('week', 'item_date') }} as date) as week_start,
        cast({{ dbt.date_trunc('month', 'item_date') }} as date) as month_start,
        cast({{ dbt.date_trunc('quarter', 'item_date') }} as date) as quarter_start
    from item_days
    where
        item_date >= (select min(touched_quarters.quarter_start) from touched_quarters)
        or item_date >= (select min(touched_weeks.week_start) from touched_weeks)
),

days as (
    select
        recent_days.location_id,
        recent_days.item_id,
        'day' as period,
        recent_days.item_date as period_start,
        recent_days.sold_units,
        recent_days.sales_usd,
        recent_days.margin_usd,
        recent_days.wasted_units,
        recent_days.waste_cost_usd,
        recent_days.offered_days,
        recent_days.stocked_out_days,
        recent_days.stocked_out_minutes,
        recent_days.open_minutes,
        recent_days.available_days,
        recent_days.lost_units,
        recent_days.lost_margin_usd,
        case when recent_days.is_known then 1 else 0 end as known_days,
        recent_days.accepted_at
    from recent_days
    inner join touched_days
        on
            recent_days.location_id = touched_days.location_id
            and recent_days.item_id = touched_days.item_id
            and recent_days.item_date = touched_days.item_date
),

weeks as (
    select
        recent_days.location_id,
        recent_days.item_id,
        'week' as period,
        recent_days.week_start as period_start,
        sum(recent_days.sold_units) as sold_units,
        sum(recent_days.sales_usd) as sales_usd,
        sum(recent_days.margin_usd) as margin_usd,
        sum(recent_days.wasted_units) as wasted_units,
        sum(recent_days.waste_cost_usd) as waste_cost_usd,
        sum(recent_days.offered_days) as offered_days,
        sum(recent_days.stocked_out_days) as stocked_out_days,
        sum(recent_days.stocked_out_minutes) as stocked_out_minutes,
        sum(recent_days.open_minutes) as open_minutes,
        sum(recent_days.available_days) as available_days,
        sum(recent_days.lost_units) as lost_units,
        sum(recent_days.lost_margin_usd) as lost_margin_usd,
        sum(case when recent_days.is_known then 1 else 0 end) as known_days,
        max(recent_days.accepted_at) as accepted_at
    from recent_days
    inner join touched_weeks
        on
            recent_days.location_id = touched_weeks.location_id
            and recent_days.item_id = touched_weeks.item_id
            and recent_days.week_start = touched_weeks.week_start
    group by recent_days.location_id, recent_days.item_id, recent_days.week_start
),

month_sums as (
    select
        recent_days.location_id,
        recent_days.item_id,
        recent_days.month_start,
        recent_days.quarter_start,
        sum(recent_days.sold_units) as sold_units,
        sum(recent_days.sales_usd) as sales_usd,
        sum(recent_days.margin_usd) as margin_usd,
        sum(recent_days.wasted_units) as wasted_units,
        sum(recent_days.waste_cost_usd) as waste_cost_usd,
        sum(recent_days.offered_days) as offered_days,
        sum(recent_days.stocked_out_days) as stocked_out_days,
        sum(recent_days.stocked_out_minutes) as stocked_out_minutes,
        sum(recent_days.open_minutes) as open_minutes,
        sum(recent_days.available_days) as available_days,
        sum(recent_days.lost_units) as lost_units,
        sum(recent_days.lost_margin_usd) as lost_margin_usd,
        sum(case when recent_days.is_known then 1 else 0 end) as known_days,
        max(recent_days.accepted_at) as accepted_at
    from recent_days
    inner join touched_quarters
        on
            recent_days.location_id = touched_quarters.location_id
            and recent_days.item_id = touched_quarters.item_id
            and recent_days.quarter_start = touched_quarters.quarter_start
    group by
        recent_days.location_id,
        recent_days.item_id,
        recent_days.month_start,
        recent_days.quarter_start
),

months as (
    select
        location_id,
        item_id,
        'month' as period,
        month_start as period_start,
        sold_units,
        sales_usd,
        margin_usd,
        wasted_units,
        waste_cost_usd,
        offered_days,
        stocked_out_days,
        stocked_out_minutes,
        open_minutes,
        available_days,
        lost_units,
        lost_margin_usd,
        known_days,
        accepted_at
    from month_sums
),

quarters as (
    select
        location_id,
        item_id,
        'quarter' as period,
        quarter_start as period_start,
        sum(sold_units) as sold_units,
        sum(sales_usd) as sales_usd,
        sum(margin_usd) as margin_usd,
        sum(wasted_units) as wasted_units,
        sum(waste_cost_usd) as waste_cost_usd,
        sum(offered_days) as offered_days,
        sum(stocked_out_days) as stocked_out_days,
        sum(stocked_out_minutes) as stocked_out_minutes,
        sum(open_minutes) as open_minutes,
        sum(available_days) as available_days,
        sum(lost_units) as lost_units,
        sum(lost_margin_usd) as lost_margin_usd,
        sum(known_days) as known_days,
        max(accepted_at) as accepted_at
    from month_sums
    group by location_id, item_id, quarter_start
),

periods as (
    select * from days
    union all
    select * from weeks
    union all
    select * from months
    union all
    select * from quarters
),

item_periods as (
    select
        location_id,
        item_id,
        period,
        cast(sold_units as numeric(18, 3)) as sold_units,
        cast(sales_usd as numeric(18, 4)) as sales_usd,
        cast(margin_usd as numeric(18, 4)) as margin_usd,
        cast(wasted_units as numeric(18, 3)) as wasted_units,
        cast(waste_cost_usd as numeric(18, 4)) as waste_cost_usd,
        cast(offered_days as bigint) as offered_days,
        cast(stocked_out_days as bigint) as stocked_out_days,
        cast(stocked_out_minutes as numeric(18, 3)) as stocked_out_minutes,
        cast(open_minutes as numeric(18, 3)) as open_minutes,
        cast(available_days as numeric(18, 6)) as available_days,
        cast(lost_units as numeric(18, 3)) as lost_units,
        cast(lost_margin_usd as numeric(18, 4)) as lost_margin_usd,
        known_days > 0 as is_known,
        period_start,
        accepted_at
    from periods
)

select *
from item_periods
