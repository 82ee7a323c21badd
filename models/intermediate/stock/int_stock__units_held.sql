-- one row per location, item and last day of sale of what is held at the close of the newest day
-- that has closed; the oldest delivery leaves first, so what is held came with the newest ones.
-- `expires_on` is null for units that no delivery of the item's shelf life explains
with stock_days as (
    select *
    from {{ ref('fct_stock_days') }}
),

location_days as (
    select *
    from {{ ref('int_clock__location_days') }}
),

movements as (
    select *
    from {{ ref('int_stock__movements') }}
),

items as (
    select
        item_id,
        shelf_life_days
    from {{ ref('dim_items') }}
),

held as (
    select
        stock_days.location_id,
        stock_days.item_id,
        location_days.as_of_date,
        items.shelf_life_days,
        stock_days.closing_units
    from stock_days
    inner join location_days
        on
            stock_days.location_id = location_days.location_id
            and stock_days.stock_date = location_days.as_of_date
    left join items on stock_days.item_id = items.item_id
    where
        stock_days.closing_units > 0
        and cast(stock_days.last_event_at as date)
        > stock_days.stock_date - {{ var('active_days') }}
),

deliveries as (
    select
        held.location_id,
        held.item_id,
        held.as_of_date,
        held.closing_units,
        movements.quantity,
        coalesce(
            movements.expires_on,
            movements.stock_date + cast(held.shelf_life_days as integer) - 1
        ) as expires_on,
        sum(movements.quantity) over (
            partition by held.location_id, held.item_id
            order by movements.occurred_at desc, movements.event_id asc
            rows between unbounded preceding and current row
        ) - movements.quantity as newer_units
    from held
    inner join movements
        on
            held.location_id = movements.location_id
            and held.item_id = movements.item_id
    where
        movements.kind = 'restocked'
        and movements.is_current
        and movements.stock_date <= held.as_of_date
        and movements.stock_date > held.as_of_date
        - coalesce(cast(held.shelf_life_days as integer), 0)
        - {{ var('late_discard_days') }}
),

lots as (
    select
        location_id,
        item_id,
        as_of_date,
        expires_on,
        least(quantity, closing_units - newer_units) as units
    from deliveries
    where newer_units < closing_units and quantity > 0
),

explained as (
    select
        location_id,
        item_id,
        sum(units) as units
    from lots
    group by location_id, item_id
),

all_lots as (
    select
        location_id,
        item_id,
        as_of_date,
        expires_on,
        units
    from lots
    union all
    select
        held.location_id,
        held.item_id,
        held.as_of_date,
        cast(null as date) as expires_on,
        held.closing_units - coalesce(explained.units, 0) as units
    from held
    left join explained
        on held.location_id = explained.location_id and held.item_id = explained.item_id
    where held.closing_units > coalesce(explained.units, 0)
),

units_held as (
    select
        location_id,
        item_id,
        as_of_date,
        expires_on,
        cast(sum(units) as numeric(18, 3)) as units
    from all_lots
    group by location_id, item_id, as_of_date, expires_on
)

select *
from units_held
