-- one row per scope (location, route, region, network), item and day, ISO week, month or quarter:
-- what was sold, what was wasted and what empty shelves cost. Only touched periods are added up
-- anew; a row without any day left is taken out
{{ config(
    materialized='incremental',
    unique_key=['scope', 'scope_id', 'item_id', 'period', 'period_start'],
    incremental_strategy='delete+insert',
    post_hook="delete from {{ this }} where sold_units is null"
) }}

-- each step imports the periods for itself: DuckDB copies what is used twice
with location_scopes as (
    select *
    from {{ ref('int_stock__location_scopes') }}
),

{% if is_incremental() -%}
newest as (
    select max(period_start) - 2 as open_date
    from {{ this }}
    where period = 'day'
),

touched_periods as (
    select distinct
        item_periods.location_id,
        item_periods.item_id,
        item_periods.period,
        item_periods.period_start
    from {{ ref('int_stock__item_periods') }} as item_periods
    cross join newest
    where
        item_periods.accepted_at > {{ last_accepted(this) }}
        -- what was not over last time has changed without a new record
        or item_periods.period_start >= case item_periods.period
            when 'day' then newest.open_date
            when 'week' then cast({{ dbt.date_trunc('week', 'newest.open_date') }} as date)
            when 'month' then cast({{ dbt.date_trunc('month', 'newest.open_date') }} as date)
            else cast({{ dbt.date_trunc('quarter', 'newest.open_date') }} as date)
        end
    union
    -- a location has joined or left a route or a region
    select
        item_periods.location_id,
        item_periods.item_id,
        item_periods.period,
        item_periods.period_start
    from {{ ref('int_stock__item_periods') }} as item_periods
    inner join location_scopes on item_periods.location_id = location_scopes.location_id
    where location_scopes.accepted_at > {{ last_accepted(this) }}
),

touched as (
    select distinct
        location_scopes.scope,
        location_scopes.scope_id,
        touched_periods.item_id,
        touched_periods.period,
        touched_periods.period_start
    from touched_periods
    inner join location_scopes on touched_periods.location_id = location_scopes.location_id
),

-- narrowed first: else the engine adds up all of history before it looks at what was touched
open_periods as (
    select *
    from {{ ref('int_stock__item_periods') }}
    where
        is_known
        and period_start in (select touched.period_start from touched)
),

members as (
    select
        touched.scope,
        touched.scope_id,
        open_periods.*
    from open_periods
    inner join location_scopes
        on open_periods.location_id = location_scopes.location_id and location_scopes.is_current
    inner join touched
        on
            location_scopes.scope = touched.scope
            and location_scopes.scope_id = touched.scope_id
            and open_periods.item_id = touched.item_id
            and open_periods.period = touched.period
            and open_periods.period_start = touched.period_start
),
{%- else -%}
touched as (
    select distinct
        location_scopes.scope,
        location_scopes.scope_id,
        item_periods.item_id,
        item_periods.period,
        item_periods.period_start
    from {{ ref('int_stock__item_periods') }} as item_periods
    inner join location_scopes on item_periods.location_id = location_scopes.location_id
    where location_scopes.is_current and item_periods.is_known
),

members as (
    select
        location_scopes.scope,
        location_scopes.scope_id,
        item_periods.*
    from {{ ref('int_stock__item_periods') }} as item_periods
    inner join location_scopes
        on item_periods.location_id = location_scopes.location_id and location_scopes.is_current
    where item_periods.is_known
),
{%- endif %}

summed as (
    select
        scope,
        scope_id,
        item_id,
        period,
        period_start,
        sum(sold_units) as sold_units,
        sum(sales_usd) as sales_usd,
        sum(margin_usd) as margin_usd,
        sum(wasted_units) as wasted_units,
        sum(waste_cost_usd) as waste_cost_usd,
        sum(offered_days) as offered_days,
        sum(stocked_out_days) as stocked_out_days,
        sum(available_days) as available_days,
        sum(stocked_out_minutes) as stocked_out_minutes,
        sum(open_minutes) as open_minutes,
        sum(lost_units) as lost_units,
        sum(lost_margin_usd) as lost_margin_usd,
        max(accepted_at) as accepted_at
    from members
    group by scope, scope_id, item_id, period, period_start
),

reported as (
    select
        touched.scope,
        touched.scope_id,
        touched.item_id,
        touched.period,
        cast(summed.sold_units as numeric(18, 3)) as sold_units,
        cast(summed.sales_usd as numeric(18, 4)) as sales_usd,
        cast(summed.margin_usd as numeric(18, 4)) as margin_usd,
        cast(summed.wasted_units as numeric(18, 3)) as wasted_units,
        cast(summed.waste_cost_usd as numeric(18, 4)) as waste_cost_usd,
        cast(summed.offered_days as bigint) as offered_days,
        cast(summed.stocked_out_days as bigint) as stocked_out_days,
        cast(summed.available_days as numeric(18, 3)) as available_days,
        case
            when summed.open_minutes > 0
                then
                    cast(summed.stocked_out_minutes as double)
                    / cast(summed.open_minutes as double)
        end as stocked_out_share,
        cast(summed.lost_units as numeric(18, 3)) as lost_units_estimate,
        cast(summed.lost_margin_usd as numeric(18, 4)) as lost_margin_usd,
        touched.period_start,
        summed.accepted_at
    from touched
    left join summed
        on
            touched.scope = summed.scope
            and touched.scope_id = summed.scope_id
            and touched.item_id = summed.item_id
            and touched.period = summed.period
            and touched.period_start = summed.period_start
)

select *
from reported
