-- one row per scope (location, route, region, network), item and day, ISO week, month or quarter:
-- what was sold, what was wasted and what empty shelves cost. Only what was added up anew is
-- written; a row without any day left is taken out
{{ config(
    materialized='incremental',
    unique_key=['scope', 'scope_id', 'item_id', 'period', 'period_start'],
    incremental_strategy='delete+insert',
    post_hook="delete from {{ this }} where sold_units is null"
) }}

with scope_periods as (
    select *
    from {{ ref('int_stock__scope_periods') }}
    {% if is_incremental() -%}
    where changed_after >= {{ last_accepted(this) }}
    {%- endif %}
),

reported as (
    select
        scope,
        scope_id,
        item_id,
        period,
        sold_units,
        sales_usd,
        margin_usd,
        wasted_units,
        waste_cost_usd,
        offered_days,
        stocked_out_days,
        cast(available_days as numeric(18, 3)) as available_days,
        case
            when open_minutes > 0
                then cast(stocked_out_minutes as double) / cast(open_minutes as double)
        end as stocked_out_share,
        lost_units as lost_units_estimate,
        lost_margin_usd,
        period_start,
        accepted_at
    from scope_periods
)

select *
from reported
