-- one row per scope (location, route, region, network), day, ISO week, month or quarter and item
-- that was sold in it, ranked by units per day on which it could be bought, so that an empty shelf
-- does not hide what people want. All items of a touched scope and period are ranked anew
{{ config(
    materialized='incremental',
    unique_key=['scope', 'scope_id', 'period', 'period_start', 'item_id'],
    incremental_strategy='delete+insert',
    post_hook="delete from {{ this }} where units is null"
) }}

{% if is_incremental() -%}
with touched as (
    select distinct
        scope,
        scope_id,
        period,
        period_start
    from {{ ref('int_stock__scope_periods') }}
    where changed_after >= {{ last_accepted(this) }}
),

-- with what is no longer sold, which is taken out in the end
scope_periods as (
    select known_periods.*
    from {{ ref('int_stock__scope_periods') }} as known_periods
    inner join touched
        on
            known_periods.scope = touched.scope
            and known_periods.scope_id = touched.scope_id
            and known_periods.period = touched.period
            and known_periods.period_start = touched.period_start
),
{%- else -%}
with scope_periods as (
    select *
    from {{ ref('int_stock__scope_periods') }}
    where sold_units > 0
),
{%- endif %}

sold as (
    select
        scope,
        scope_id,
        item_id,
        period,
        case when sold_units > 0 then sold_units end as units,
        available_days,
        period_start,
        accepted_at
    from scope_periods
),

-- a short time on the shelf says too little about a whole day
scored as (
    select
        *,
        cast(units as double)
        / greatest(cast(available_days as double), {{ var('least_available_days') }})
            as popularity_score
    from sold
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
        scored.units,
        cast(scored.available_days as numeric(18, 3)) as available_days,
        scored.popularity_score,
        cast(
            rank() over (
                partition by
                    scored.scope, scored.scope_id, scored.period, scored.period_start
                order by scored.popularity_score desc nulls last
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
)

select *
from ranked
