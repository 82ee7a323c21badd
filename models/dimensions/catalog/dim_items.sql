-- one row per item: its newest version, deleted ones too, so that old facts keep their names
with item_versions as (
    select *
    from {{ ref('int_catalog__item_versions') }}
),

items as (
    select
        item_id,
        kitchen_id,
        item_name,
        category,
        tags,
        allergens,
        cast(price_usd as numeric(18, 4)) as price_usd,
        cast(unit_cost_usd as numeric(18, 4)) as unit_cost_usd,
        cast(disposal_cost_usd as numeric(18, 4)) as disposal_cost_usd,
        cast(shelf_life_days as integer) as shelf_life_days,
        cast(pack_size as integer) as pack_size,
        cast(order_lead_hours as numeric(18, 3)) as order_lead_hours,
        is_deleted,
        updated_at
    from item_versions
    where is_current
)

select *
from items
