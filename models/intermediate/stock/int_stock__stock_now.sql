-- one row per location in service and item on sale there: what is left now, what has gone since the
-- newest day that has closed, and how fast it usually goes
with places as (
    select *
    from {{ ref('int_stock__places_now') }}
),

items as (
    select *
    from {{ ref('dim_items') }}
),

item_days as (
    select *
    from {{ ref('int_stock__item_days') }}
),

usual_sales as (
    select
        item_days.location_id,
        item_days.item_id,
        cast(sum(item_days.sold_units) as double) / nullif(
            cast(sum(item_days.open_minutes - item_days.stocked_out_minutes) as double), 0
        ) as units_a_minute
    from item_days
    inner join places on item_days.location_id = places.location_id
    where
        item_days.is_known
        and item_days.item_date <= places.as_of_date
        and item_days.item_date > places.as_of_date - {{ var('usual_sales_days') }}
    group by item_days.location_id, item_days.item_id
    having sum(item_days.open_minutes) > sum(item_days.stocked_out_minutes)
),

stock_now as (
    select
        stock_days.location_id,
        stock_days.item_id,
        coalesce(items.item_name, stock_days.item_id) as item_name,
        places.time_zone,
        places.opens_minute,
        places.closes_minute,
        places.open_minutes,
        places.minute_of_day,
        places.minutes_left_today,
        places.minutes_to_cover,
        places.local_date,
        places.as_of_date,
        places.as_of_at,
        greatest(cast(stock_days.closing_units as double), 0) as units,
        case
            when places.local_date > places.as_of_date
                then cast(
                    stock_days.sold_units + stock_days.discarded_units - stock_days.adjusted_units
                    as double
                )
            else 0
        end as units_gone_today,
        greatest(coalesce(usual_sales.units_a_minute, 0), 0) as units_a_minute
    from {{ ref('fct_stock_days') }} as stock_days
    inner join places
        on
            stock_days.location_id = places.location_id
            and stock_days.stock_date = places.local_date
    left join items on stock_days.item_id = items.item_id
    left join usual_sales
        on
            stock_days.location_id = usual_sales.location_id
            and stock_days.item_id = usual_sales.item_id
    where
        not coalesce(items.is_deleted, false)
        and cast(stock_days.last_event_at as date)
        > stock_days.stock_date - {{ var('active_days') }}
)

select *
from stock_now
