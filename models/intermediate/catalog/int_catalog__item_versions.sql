-- one row per version of an item, with the time it was in force; the first version also covers what
-- came before it, so that an event older than the catalogue has a price
with records as (
    select *
    from {{ ref('stg_catalog__items') }}
),

versions as (
    select
        item_id,
        kitchen_id,
        item_name,
        category,
        coalesce(tags, '[]') as tags,
        coalesce(allergens, '[]') as allergens,
        price_usd,
        unit_cost_usd,
        coalesce(disposal_cost_usd, 0) as disposal_cost_usd,
        shelf_life_days,
        coalesce(pack_size, 1) as pack_size,
        coalesce(order_lead_hours, 24) as order_lead_hours,
        is_deleted,
        updated_at,
        accepted_at
    from records
    qualify row_number() over (
        partition by item_id, updated_at order by content_hash, accepted_at, segment
    ) = 1
),

dated as (
    select
        item_id,
        kitchen_id,
        item_name,
        category,
        tags,
        allergens,
        price_usd,
        unit_cost_usd,
        disposal_cost_usd,
        shelf_life_days,
        pack_size,
        order_lead_hours,
        is_deleted,
        row_number() over (partition by item_id order by updated_at desc) = 1 as is_current,
        updated_at,
        case
            when lag(updated_at) over (partition by item_id order by updated_at) is not null
                then updated_at
            else cast('1900-01-01' as timestamp)
        end as valid_from,
        coalesce(
            lead(updated_at) over (partition by item_id order by updated_at),
            cast('9999-12-31' as timestamp)
        ) as valid_to,
        accepted_at
    from versions
)

select *
from dated
