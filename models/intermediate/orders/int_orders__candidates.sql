-- one row per location and item on sale there that can be ordered now, with the next delivery that
-- the weekdays and the lead time allow; the lead time runs from the closing of the newest day that
-- has closed to the opening of the day of delivery
-- each step imports the stock days for itself: DuckDB copies what is used twice
with location_days as (
    select *
    from {{ ref('int_clock__location_days') }}
),

locations as (
    select *
    from {{ ref('dim_locations') }}
),

items as (
    select *
    from {{ ref('dim_items') }}
),

units_held as (
    select *
    from {{ ref('int_stock__units_held') }}
),

region_dates as (
    select *
    from {{ ref('dim_region_dates') }}
),

dates as (
    select
        calendar_date,
        weekday
    from {{ ref('dim_dates') }}
),

pairs as (
    select
        stock_days.location_id,
        stock_days.item_id,
        location_days.as_of_date,
        locations.region,
        locations.restock_weekdays,
        locations.capacity_units,
        items.shelf_life_days,
        items.pack_size,
        items.price_usd,
        items.unit_cost_usd,
        items.disposal_cost_usd,
        -- the first day whose opening is a lead time away from the closing
        location_days.as_of_date + greatest(
            1,
            cast(
                ceil(
                    (
                        items.order_lead_hours * 60
                        + location_days.closes_minute
                        - location_days.opens_minute
                    ) / 1440.0
                ) as integer
            )
        ) as earliest_date
    from {{ ref('fct_stock_days') }} as stock_days
    inner join location_days
        on
            stock_days.location_id = location_days.location_id
            and stock_days.stock_date = location_days.as_of_date
    inner join locations on stock_days.location_id = locations.location_id
    inner join items on stock_days.item_id = items.item_id
    where
        locations.is_in_service
        and not items.is_deleted
        and cast(stock_days.last_event_at as date)
        > stock_days.stock_date - {{ var('active_days') }}
),

earliest_dates as (
    select distinct
        location_id,
        restock_weekdays,
        earliest_date
    from pairs
),

-- two weeks hold at least two deliveries of every weekday
deliveries as (
    select
        earliest_dates.location_id,
        earliest_dates.earliest_date,
        dates.calendar_date as order_date,
        lead(dates.calendar_date) over (
            partition by earliest_dates.location_id, earliest_dates.earliest_date
            order by dates.calendar_date
        ) as following_date
    from earliest_dates
    inner join dates
        on
            earliest_dates.earliest_date <= dates.calendar_date
            and earliest_dates.earliest_date + 14 > dates.calendar_date
    where {{ json_list_contains('earliest_dates.restock_weekdays', 'dates.weekday') }}
),

next_deliveries as (
    select *
    from deliveries
    qualify row_number() over (
        partition by location_id, earliest_date order by order_date
    ) = 1
),

usual_sales as (
    select
        stock_days.location_id,
        stock_days.item_id,
        sum(stock_days.sold_units) / count(*) as units_a_day
    from {{ ref('fct_stock_days') }} as stock_days
    inner join location_days on stock_days.location_id = location_days.location_id
    where
        stock_days.stock_date <= location_days.as_of_date
        and stock_days.stock_date > location_days.as_of_date - {{ var('usual_sales_days') }}
    group by stock_days.location_id, stock_days.item_id
),

-- what has not expired by the day of delivery
sellable as (
    select
        units_held.location_id,
        units_held.item_id,
        sum(units_held.units) as units
    from units_held
    inner join pairs
        on units_held.location_id = pairs.location_id and units_held.item_id = pairs.item_id
    inner join next_deliveries
        on
            pairs.location_id = next_deliveries.location_id
            and pairs.earliest_date = next_deliveries.earliest_date
    where coalesce(units_held.expires_on, next_deliveries.order_date) >= next_deliveries.order_date
    group by units_held.location_id, units_held.item_id
),

candidates as (
    select
        pairs.location_id,
        pairs.item_id,
        pairs.as_of_date,
        next_deliveries.order_date,
        cast(next_deliveries.following_date - next_deliveries.order_date as integer)
            as days_covered,
        pairs.shelf_life_days,
        pairs.pack_size,
        pairs.price_usd,
        pairs.unit_cost_usd,
        pairs.disposal_cost_usd,
        pairs.capacity_units,
        -- what is left when the delivery comes, after the usual sales of the days before it
        cast(
            greatest(
                coalesce(sellable.units, 0)
                - round(
                    coalesce(usual_sales.units_a_day, 0)
                    * (next_deliveries.order_date - pairs.as_of_date - 1),
                    3
                ),
                0
            ) as numeric(18, 3)
        ) as stock_units,
        coalesce(region_dates.is_holiday, false) as is_holiday
    from pairs
    inner join next_deliveries
        on
            pairs.location_id = next_deliveries.location_id
            and pairs.earliest_date = next_deliveries.earliest_date
    left join sellable
        on pairs.location_id = sellable.location_id and pairs.item_id = sellable.item_id
    left join usual_sales
        on pairs.location_id = usual_sales.location_id and pairs.item_id = usual_sales.item_id
    left join region_dates
        on
            pairs.region = region_dates.region
            and next_deliveries.order_date = region_dates.calendar_date
)

select *
from candidates
