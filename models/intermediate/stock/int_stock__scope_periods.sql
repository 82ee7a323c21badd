-- one row per scope (location, route, region, network), item and day, ISO week, month or quarter:
-- sums of int_stock__item_periods. Only touched periods are added up anew; one without any day left
-- stays as a row that says so (is_known = false, no sums)
{{ config(
    materialized='incremental',
    unique_key=['scope', 'scope_id', 'item_id', 'period', 'period_start'],
    incremental_strategy='delete+insert'
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
    where period = 'day' and is_known
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

current_periods as (
    select
        location_scopes.scope,
        location_scopes.scope_id,
        open_periods.*
    from open_periods
    inner join location_scopes
        on open_periods.location_id = location_scopes.location_id and location_scopes.is_current
),

members as (
    select
        touched.scope,
        touched.scope_id,
        touched.item_id,
        touched.period,
        current_periods.sold_units,
        current_periods.sales_usd,
        current_periods.margin_usd,
        current_periods.wasted_units,
        current_periods.waste_cost_usd,
        current_periods.offered_days,
        current_periods.stocked_out_days,
        current_periods.stocked_out_minutes,
        current_periods.open_minutes,
        current_periods.available_days,
        current_periods.lost_units,
        current_periods.lost_margin_usd,
        current_periods.is_known,
        touched.period_start,
        current_periods.accepted_at,
        {{ last_accepted(this) }} as changed_after
    from touched
    left join current_periods
        on
            touched.scope = current_periods.scope
            and touched.scope_id = current_periods.scope_id
            and touched.item_id = current_periods.item_id
            and touched.period = current_periods.period
            and touched.period_start = current_periods.period_start
),
{%- else -%}
members as (
    select
        location_scopes.scope,
        location_scopes.scope_id,
        item_periods.*,
        {{ dbt.dateadd('microsecond', -1, 'item_periods.accepted_at') }} as changed_after
    from {{ ref('int_stock__item_periods') }} as item_periods
    inner join location_scopes
        on item_periods.location_id = location_scopes.location_id and location_scopes.is_current
    where item_periods.is_known
),
{%- endif %}

scope_periods as (
    select
        scope,
        scope_id,
        item_id,
        period,
        cast(sum(sold_units) as numeric(18, 3)) as sold_units,
        cast(sum(sales_usd) as numeric(18, 4)) as sales_usd,
        cast(sum(margin_usd) as numeric(18, 4)) as margin_usd,
        cast(sum(wasted_units) as numeric(18, 3)) as wasted_units,
        cast(sum(waste_cost_usd) as numeric(18, 4)) as waste_cost_usd,
        cast(sum(offered_days) as bigint) as offered_days,
        cast(sum(stocked_out_days) as bigint) as stocked_out_days,
        cast(sum(stocked_out_minutes) as numeric(18, 3)) as stocked_out_minutes,
        cast(sum(open_minutes) as numeric(18, 3)) as open_minutes,
        cast(sum(available_days) as numeric(18, 6)) as available_days,
        cast(sum(lost_units) as numeric(18, 3)) as lost_units,
        cast(sum(lost_margin_usd) as numeric(18, 4)) as lost_margin_usd,
        count(is_known) > 0 as is_known,
        period_start,
        max(accepted_at) as accepted_at,
        max(changed_after) as changed_after
    from members
    group by scope, scope_id, item_id, period, period_start
)

select *
from scope_periods
