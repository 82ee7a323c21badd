-- one row per region, item and week: the public's interest in the topics that the item belongs to
with trends as (
    select *
    from {{ ref('int_orders__food_trends') }}
),

items as (
    select
        item_id,
        tags
    from {{ ref('dim_items') }}
),

item_trends as (
    select
        trends.region,
        items.item_id,
        trends.week_start,
        -- exact sums, so that the order of rows does not matter
        cast(sum(cast(trends.trend_index as numeric(18, 6))) as double)
        / count(trends.trend_index) as trend_index
    from trends
    inner join items on {{ json_list_contains('items.tags', 'trends.item_tag') }}
    where trends.trend_index is not null
    group by trends.region, items.item_id, trends.week_start
)

select *
from item_trends
