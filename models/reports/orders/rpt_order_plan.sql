-- one row per location, item and day of delivery: the newest plan made for it, and what came of it
-- once the last day that it was to cover has closed.
--
-- Compared is the plan with what went on before it: the mean of the last four deliveries of the
-- same weekday that were known when the plan was made (days without a delivery count as 0). Both
-- start from the same stock, and both cost, for the days covered,
--     (price - unit cost) x units wanted but not there
--     + (unit cost + disposal cost) x waste share x units there but not wanted,
-- at the prices of the day of delivery. The waste share is what the pair discarded in the last
-- `usual_sales_days` for each unit left at a closing (at most 1; 1 where nothing was ever left):
-- most of what is left over is sold the next day, so charging all of it would promise savings
-- beyond all that is wasted. Before the days are over, what is wanted is the forecast's 10 %, 50 %
-- and 90 % quantile with the weights 0.3, 0.4 and 0.3 (Swanson's rule); after it, what was sold
-- plus the estimate of what empty shelves lost. Below zero means that the plan is cheaper. Neither
-- side is what was really delivered: this is an estimate, not money in the till.
-- each step imports the stock days for itself: DuckDB copies what is used twice
with plans as (
    select *
    from {{ ref('ml_order_quantities') }}
),

item_days as (
    select *
    from {{ ref('int_stock__item_days') }}
),

item_versions as (
    select *
    from {{ ref('int_catalog__item_versions') }}
),

items as (
    select *
    from {{ ref('dim_items') }}
),

locations as (
    select *
    from {{ ref('dim_locations') }}
),

location_days as (
    select *
    from {{ ref('int_clock__location_days') }}
),

newest_plans as (
    select
        plans.location_id,
        plans.item_id,
        plans.as_of_date as planned_on,
        plans.order_date,
        plans.order_date + cast(plans.days_covered as integer) - 1 as last_covered_date,
        plans.order_quantity,
        plans.stock_units,
        plans.demand_p10,
        plans.demand_p50,
        plans.demand_p90,
        plans.expected_cost_usd,
        plans.critical_ratio,
        plans.reasons,
        plans.model_version,
        plans.order_date + cast(plans.days_covered as integer) - 1 <= location_days.as_of_date
            as is_over
    from plans
    inner join location_days on plans.location_id = location_days.location_id
    where plans.order_date > location_days.as_of_date - {{ var('order_plan_days') }}
    qualify row_number() over (
        partition by plans.location_id, plans.item_id, plans.order_date
        order by plans.as_of_date desc, plans.scored_at desc, plans.model_version desc
    ) = 1
),

-- four weeks hold the weekday four times
past_deliveries as (
    select
        newest_plans.location_id,
        newest_plans.item_id,
        newest_plans.order_date,
        cast(sum(stock_days.restocked_units) as double) / count(*) as units
    from newest_plans
    inner join {{ ref('fct_stock_days') }} as stock_days
        on
            newest_plans.location_id = stock_days.location_id
            and newest_plans.item_id = stock_days.item_id
            and newest_plans.planned_on >= stock_days.stock_date
            and newest_plans.planned_on < stock_days.stock_date + 28
            and (newest_plans.order_date - stock_days.stock_date) % 7 = 0
    group by newest_plans.location_id, newest_plans.item_id, newest_plans.order_date
),

waste_shares as (
    select
        newest_plans.location_id,
        newest_plans.item_id,
        newest_plans.order_date,
        least(
            cast(sum(stock_days.discarded_units) as double)
            / nullif(cast(sum(greatest(stock_days.closing_units, 0)) as double), 0),
            1
        ) as waste_share
    from newest_plans
    inner join {{ ref('fct_stock_days') }} as stock_days
        on
            newest_plans.location_id = stock_days.location_id
            and newest_plans.item_id = stock_days.item_id
            and newest_plans.planned_on >= stock_days.stock_date
            and newest_plans.planned_on
            < stock_days.stock_date + {{ var('usual_sales_days') }}
    group by newest_plans.location_id, newest_plans.item_id, newest_plans.order_date
),

outcomes as (
    select
        newest_plans.location_id,
        newest_plans.item_id,
        newest_plans.order_date,
        sum(
            case
                when stock_days.stock_date = newest_plans.order_date
                    then stock_days.restocked_units
            end
        ) as delivered_units,
        sum(
            case
                when stock_days.stock_date = newest_plans.order_date
                    then greatest(stock_days.opening_units, 0)
            end
        ) as opening_units,
        sum(stock_days.sold_units) as sold_units,
        sum(stock_days.discarded_units) as wasted_units,
        sum(coalesce(item_days.lost_units, 0)) as lost_units
    from newest_plans
    inner join {{ ref('fct_stock_days') }} as stock_days
        on
            newest_plans.location_id = stock_days.location_id
            and newest_plans.item_id = stock_days.item_id
            and newest_plans.order_date <= stock_days.stock_date
            and newest_plans.last_covered_date >= stock_days.stock_date
    left join item_days
        on
            stock_days.location_id = item_days.location_id
            and stock_days.item_id = item_days.item_id
            and stock_days.stock_date = item_days.item_date
    where newest_plans.is_over
    group by newest_plans.location_id, newest_plans.item_id, newest_plans.order_date
),

compared as (
    select
        newest_plans.location_id,
        newest_plans.item_id,
        newest_plans.planned_on,
        newest_plans.order_date,
        newest_plans.last_covered_date,
        newest_plans.order_quantity,
        newest_plans.expected_cost_usd,
        newest_plans.critical_ratio,
        newest_plans.reasons,
        newest_plans.model_version,
        outcomes.location_id is not null as is_over,
        outcomes.delivered_units,
        outcomes.sold_units,
        outcomes.wasted_units,
        past_deliveries.units as previous_policy_units,
        greatest(cast(item_versions.price_usd - item_versions.unit_cost_usd as double), 0)
            as underage_usd,
        cast(item_versions.unit_cost_usd + item_versions.disposal_cost_usd as double)
        * coalesce(waste_shares.waste_share, 1) as overage_usd,
        coalesce(cast(outcomes.opening_units as double), newest_plans.stock_units) as stock_units,
        case
            when outcomes.location_id is not null
                then cast(outcomes.sold_units + outcomes.lost_units as double)
            else newest_plans.demand_p10
        end as low_demand,
        case
            when outcomes.location_id is not null
                then cast(outcomes.sold_units + outcomes.lost_units as double)
            else newest_plans.demand_p50
        end as middle_demand,
        case
            when outcomes.location_id is not null
                then cast(outcomes.sold_units + outcomes.lost_units as double)
            else newest_plans.demand_p90
        end as high_demand
    from newest_plans
    left join outcomes
        on
            newest_plans.location_id = outcomes.location_id
            and newest_plans.item_id = outcomes.item_id
            and newest_plans.order_date = outcomes.order_date
    left join past_deliveries
        on
            newest_plans.location_id = past_deliveries.location_id
            and newest_plans.item_id = past_deliveries.item_id
            and newest_plans.order_date = past_deliveries.order_date
    left join waste_shares
        on
            newest_plans.location_id = waste_shares.location_id
            and newest_plans.item_id = waste_shares.item_id
            and newest_plans.order_date = waste_shares.order_date
    left join item_versions
        on
            newest_plans.item_id = item_versions.item_id
            and {{ dbt.dateadd('hour', 12, 'cast(newest_plans.order_date as timestamp)') }}
            >= item_versions.valid_from
            and {{ dbt.dateadd('hour', 12, 'cast(newest_plans.order_date as timestamp)') }}
            < item_versions.valid_to
),

costed as (
    select
        *,
        0.3 * {{ newsvendor_cost('stock_units + order_quantity', 'low_demand') }}
        + 0.4 * {{ newsvendor_cost('stock_units + order_quantity', 'middle_demand') }}
        + 0.3 * {{ newsvendor_cost('stock_units + order_quantity', 'high_demand') }}
            as plan_cost_usd,
        0.3 * {{ newsvendor_cost('stock_units + previous_policy_units', 'low_demand') }}
        + 0.4 * {{ newsvendor_cost('stock_units + previous_policy_units', 'middle_demand') }}
        + 0.3 * {{ newsvendor_cost('stock_units + previous_policy_units', 'high_demand') }}
            as previous_policy_cost_usd
    from compared
),

order_plan as (
    select
        items.kitchen_id,
        locations.route_id,
        costed.location_id,
        costed.item_id,
        cast(costed.order_quantity as numeric(18, 3)) as planned_units,
        cast(costed.delivered_units as numeric(18, 3)) as delivered_units,
        cast(costed.sold_units as numeric(18, 3)) as sold_units,
        cast(costed.wasted_units as numeric(18, 3)) as wasted_units,
        cast(costed.previous_policy_units as numeric(18, 3)) as previous_policy_units,
        cast(costed.expected_cost_usd as numeric(18, 4)) as expected_cost_usd,
        cast(costed.plan_cost_usd as numeric(18, 4)) as plan_cost_usd,
        cast(costed.previous_policy_cost_usd as numeric(18, 4)) as previous_policy_cost_usd,
        cast(costed.plan_cost_usd - costed.previous_policy_cost_usd as numeric(18, 4))
            as cost_against_previous_policy_usd,
        costed.critical_ratio,
        costed.reasons,
        costed.model_version,
        costed.is_over,
        costed.order_date,
        costed.last_covered_date,
        costed.planned_on as as_of_date
    from costed
    left join items on costed.item_id = items.item_id
    left join locations on costed.location_id = locations.location_id
)

select *
from order_plan
