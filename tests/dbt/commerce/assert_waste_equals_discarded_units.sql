-- locations, items and days where the waste is not what was discarded from the stock
with waste as (
    select
        location_id,
        item_id,
        waste_date,
        sum(quantity) as quantity
    from {{ ref('fct_waste') }}
    group by location_id, item_id, waste_date
),

stock_days as (
    select
        location_id,
        item_id,
        stock_date,
        discarded_units
    from {{ ref('fct_stock_days') }}
    where discarded_units != 0
),

compared as (
    select
        coalesce(waste.location_id, stock_days.location_id) as location_id,
        coalesce(waste.item_id, stock_days.item_id) as item_id,
        coalesce(waste.waste_date, stock_days.stock_date) as waste_date,
        coalesce(waste.quantity, 0) as quantity,
        coalesce(stock_days.discarded_units, 0) as discarded_units
    from waste
    full outer join stock_days
        on
            waste.location_id = stock_days.location_id
            and waste.item_id = stock_days.item_id
            and waste.waste_date = stock_days.stock_date
)

select *
from compared
where quantity != discarded_units
