-- Which places on each menu do people stop at, which do they skip, and what turns into an order?
-- chart: view_count, skip_count by location_id, week_start, item_id
with menu_items as (
    select *
    from {{ ref('rpt_menu_items') }}
    where period = 'week' and scope = 'item'
),

items as (
    select *
    from {{ ref('dim_items') }}
),

newest as (
    select
        location_id,
        max(period_start) as period_start
    from menu_items
    group by location_id
),

answers as (
    select
        menu_items.location_id,
        menu_items.period_start as week_start,
        menu_items.section,
        menu_items.position,
        menu_items.item_id,
        items.item_name,
        menu_items.view_count,
        menu_items.skip_count,
        -- of those who came past
        cast(menu_items.skip_count as double)
        / nullif(menu_items.view_count + menu_items.skip_count, 0) as skip_share,
        menu_items.mean_dwell_seconds,
        menu_items.order_count,
        menu_items.order_rate
    from menu_items
    inner join newest
        on
            menu_items.location_id = newest.location_id
            and menu_items.period_start = newest.period_start
    left join items on menu_items.item_id = items.item_id
)

select *
from answers
order by location_id, section, position, item_id
