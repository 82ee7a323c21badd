-- one row per region and item that is on sale there: how popular it is, how likely what is held is
-- wasted, how much is to be ordered next and how the public's interest stands; for now, not history
with locations as (
    select *
    from {{ ref('dim_locations') }}
),

items as (
    select *
    from {{ ref('dim_items') }}
),

location_days as (
    select *
    from {{ ref('int_clock__location_days') }}
),

item_days as (
    select *
    from {{ ref('int_stock__item_days') }}
),

risks as (
    select *
    from {{ ref('ml_waste_probabilities') }}
),

plans as (
    select *
    from {{ ref('ml_order_quantities') }}
),

trends as (
    select *
    from {{ ref('int_orders__food_trends') }}
),

regions as (
    select
        locations.region,
        sum(locations.population) as population,
        max(location_days.as_of_date) as as_of_date
    from locations
    inner join location_days on locations.location_id = location_days.location_id
    where locations.is_in_service
    group by locations.region
),

popularity as (
    select
        locations.region,
        item_days.item_id,
        cast(sum(item_days.sold_units) as double) / greatest(
            cast(sum(item_days.available_days) as double), {{ var('least_available_days') }}
        ) as popularity_score
    from item_days
    inner join locations on item_days.location_id = locations.location_id
    inner join location_days on item_days.location_id = location_days.location_id
    where
        item_days.is_known
        and item_days.item_date <= location_days.as_of_date
        and item_days.item_date > location_days.as_of_date - {{ var('usual_sales_days') }}
    group by locations.region, item_days.item_id
),

-- of what is held tonight, up to the end of its shelf life
final_risks as (
    select
        risks.location_id,
        risks.item_id,
        risks.waste_probability,
        risks.expected_wasted_units,
        risks.held_units
    from risks
    inner join location_days
        on
            risks.location_id = location_days.location_id
            and risks.as_of_date = location_days.as_of_date
    qualify row_number() over (
        partition by risks.location_id, risks.item_id
        order by risks.horizon_days desc, risks.scored_at desc, risks.model_version desc
    ) = 1
),

region_risks as (
    select
        locations.region,
        final_risks.item_id,
        -- exact sums, so that the order of rows does not matter
        cast(
            sum(
                case
                    when final_risks.held_units > 0
                        then cast(final_risks.waste_probability as numeric(18, 9))
                end
            ) as double
        ) / nullif(sum(case when final_risks.held_units > 0 then 1 else 0 end), 0)
            as waste_probability,
        sum(cast(final_risks.expected_wasted_units as numeric(18, 3))) as expected_wasted_units
    from final_risks
    inner join locations on final_risks.location_id = locations.location_id
    group by locations.region, final_risks.item_id
),

next_plans as (
    select
        plans.location_id,
        plans.item_id,
        plans.order_quantity
    from plans
    inner join location_days
        on
            plans.location_id = location_days.location_id
            and plans.as_of_date = location_days.as_of_date
    qualify row_number() over (
        partition by plans.location_id, plans.item_id
        order by plans.order_date desc, plans.scored_at desc, plans.model_version desc
    ) = 1
),

region_plans as (
    select
        locations.region,
        next_plans.item_id,
        sum(next_plans.order_quantity) as order_quantity
    from next_plans
    inner join locations on next_plans.location_id = locations.location_id
    group by locations.region, next_plans.item_id
),

-- the newest week of each topic that has begun, of the last four
newest_trends as (
    select
        trends.region,
        trends.item_tag,
        trends.trend_index
    from trends
    inner join regions
        on
            trends.region = regions.region
            and trends.week_start between regions.as_of_date - 28 and regions.as_of_date
    qualify row_number() over (
        partition by trends.region, trends.item_tag, trends.topic order by trends.week_start desc
    ) = 1
),

item_trends as (
    select
        newest_trends.region,
        items.item_id,
        cast(sum(newest_trends.trend_index) as double) / count(newest_trends.trend_index)
            as trend_index
    from newest_trends
    inner join items on {{ json_list_contains('items.tags', 'newest_trends.item_tag') }}
    group by newest_trends.region, items.item_id
),

outlook as (
    select
        popularity.region,
        popularity.item_id,
        cast(regions.population as bigint) as population,
        popularity.popularity_score,
        region_risks.waste_probability,
        cast(region_risks.expected_wasted_units as numeric(18, 3)) as expected_wasted_units,
        cast(region_plans.order_quantity as numeric(18, 3)) as order_quantity,
        item_trends.trend_index,
        regions.as_of_date
    from popularity
    inner join regions on popularity.region = regions.region
    left join region_risks
        on
            popularity.region = region_risks.region
            and popularity.item_id = region_risks.item_id
    left join region_plans
        on
            popularity.region = region_plans.region
            and popularity.item_id = region_plans.item_id
    left join item_trends
        on
            popularity.region = item_trends.region
            and popularity.item_id = item_trends.item_id
)

select *
from outlook
