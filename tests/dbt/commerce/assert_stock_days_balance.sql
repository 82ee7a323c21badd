-- rows of fct_stock_days where the day does not add up, does not go on from the day before, or the
-- day before is missing
with stock_days as (
    select *
    from {{ ref('fct_stock_days') }}
),

followed as (
    select
        location_id,
        item_id,
        stock_date,
        opening_units,
        restocked_units,
        sold_units,
        discarded_units,
        adjusted_units,
        closing_units,
        lag(closing_units) over (
            partition by location_id, item_id order by stock_date
        ) as closed_before,
        lag(stock_date) over (
            partition by location_id, item_id order by stock_date
        ) as date_before
    from stock_days
)

select *
from followed
where
    opening_units + restocked_units - sold_units - discarded_units + adjusted_units
    != closing_units
    or opening_units != coalesce(closed_before, 0)
    or date_before != stock_date - 1
