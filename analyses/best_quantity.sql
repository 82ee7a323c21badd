-- How much of each item should be delivered next, and what does the plan cost against the old way?
-- chart: planned_units by location_name, item_name
with order_plan as (
    select *
    from {{ ref('rpt_order_plan') }}
),

items as (
    select *
    from {{ ref('dim_items') }}
),

locations as (
    select *
    from {{ ref('dim_locations') }}
),

answers as (
    select
        order_plan.order_date,
        order_plan.kitchen_id,
        order_plan.route_id,
        order_plan.location_id,
        locations.location_name,
        order_plan.item_id,
        items.item_name,
        order_plan.planned_units,
        order_plan.previous_policy_units,
        order_plan.plan_cost_usd,
        order_plan.cost_against_previous_policy_usd,
        order_plan.reasons
    from order_plan
    left join items on order_plan.item_id = items.item_id
    left join locations on order_plan.location_id = locations.location_id
    where not order_plan.is_over
)

select *
from answers
order by order_date, kitchen_id, route_id, location_id, item_id
