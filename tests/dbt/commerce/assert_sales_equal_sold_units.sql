-- locations and items where stock is reported and the sales are not what left the stock: something
-- is counted twice, or not at all
with sales as (
    select
        location_id,
        item_id,
        sum(quantity) as quantity
    from {{ ref('fct_sales') }}
    group by location_id, item_id
),

stock_days as (
    select
        location_id,
        item_id,
        sum(sold_units) as sold_units
    from {{ ref('fct_stock_days') }}
    group by location_id, item_id
),

location_days as (
    select location_id
    from {{ ref('int_clock__location_days') }}
    where has_stock_events
),

compared as (
    select
        coalesce(sales.location_id, stock_days.location_id) as location_id,
        coalesce(sales.item_id, stock_days.item_id) as item_id,
        coalesce(sales.quantity, 0) as quantity,
        coalesce(stock_days.sold_units, 0) as sold_units
    from sales
    full outer join stock_days
        on sales.location_id = stock_days.location_id and sales.item_id = stock_days.item_id
)

select *
from compared
where
    quantity != sold_units
    and location_id in (select location_days.location_id from location_days)
