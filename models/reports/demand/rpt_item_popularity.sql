-- one row per scope (location, route, region, network), day, ISO week, month or quarter and item
-- that was sold in it, ranked by units per day on which it could be bought, so that an empty shelf
-- does not hide what people want. All items of a touched scope and period are ranked anew
{{ config(
    materialized='incremental',
    unique_key=['scope', 'scope_id', 'period', 'period_start', 'item_id'],
    incremental_strategy='delete+insert',
    post_hook="delete from {{ this }} where units is null"
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
            and open_periods.period = touched.period
            and open_periods.period_start = touched.period_start
),
{%- else -%}
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
        period,
        period_start,
        item_id,
        sum(sold_units) as units,
        sum(available_days) as available_days,
        max(accepted_at) as accepted_at
    from members
    group by scope, scope_id, period, period_start, item_id
    having sum(sold_units) > 0
),

-- a short time on the shelf says too little about a whole day
scored as (
    select
        *,
        cast(units as double)
        / greatest(cast(available_days as double), {{ var('least_available_days') }})
            as popularity_score
    from summed
),

thresholds as (
    select
        scope,
        scope_id,
        period,
        period_start,
        percentile_disc(0.9) within group (order by units) as top_decile_threshold
    from scored
    group by scope, scope_id, period, period_start
),

ranked as (
    select
        scored.scope,
        scored.scope_id,
        scored.item_id,
        scored.period,
        cast(scored.units as numeric(18, 3)) as units,
        cast(scored.available_days as numeric(18, 3)) as available_days,
        scored.popularity_score,
        cast(
            rank() over (
                partition by
                    scored.scope, scored.scope_id, scored.period, scored.period_start
                order by scored.popularity_score desc
            ) as integer
        ) as popularity_rank,
        scored.units >= thresholds.top_decile_threshold as is_top_decile,
        cast(thresholds.top_decile_threshold as numeric(18, 3)) as top_decile_threshold,
        scored.period_start,
        scored.accepted_at
    from scored
    inner join thresholds
        on
            scored.scope = thresholds.scope
            and scored.scope_id = thresholds.scope_id
            and scored.period = thresholds.period
            and scored.period_start = thresholds.period_start
){% if is_incremental() %},

-- what is no longer sold in a touched scope and period
gone as (
    select
        known_rows.scope,
        known_rows.scope_id,
        known_rows.item_id,
        known_rows.period,
        cast(null as numeric(18, 3)) as units,
        cast(null as numeric(18, 3)) as available_days,
        cast(null as double) as popularity_score,
        cast(null as integer) as popularity_rank,
        cast(null as boolean) as is_top_decile,
        cast(null as numeric(18, 3)) as top_decile_threshold,
        known_rows.period_start,
        cast(null as timestamp) as accepted_at
    from {{ this }} as known_rows
    inner join touched
        on
            known_rows.scope = touched.scope
            and known_rows.scope_id = touched.scope_id
            and known_rows.period = touched.period
            and known_rows.period_start = touched.period_start
    left join ranked
        on
            known_rows.scope = ranked.scope
            and known_rows.scope_id = ranked.scope_id
            and known_rows.period = ranked.period
            and known_rows.period_start = ranked.period_start
            and known_rows.item_id = ranked.item_id
    where ranked.item_id is null
)

select *
from ranked
union all
select *
from gone
{%- else %}

select *
from ranked
{%- endif %}
