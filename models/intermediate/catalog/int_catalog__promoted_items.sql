-- one row per version of a promotion and item of the catalogue in it; versions that no longer hold
-- stay, so that sales they had marked are looked at again
with records as (
    select *
    from {{ ref('stg_catalog__promotions') }}
),

items as (
    select distinct item_id
    from {{ ref('int_catalog__item_versions') }}
),

versions as (
    select
        promotion_id,
        location_id,
        item_ids,
        is_deleted,
        starts_at,
        ends_at,
        updated_at,
        content_hash,
        accepted_at
    from records
    qualify row_number() over (
        partition by promotion_id, updated_at, content_hash order by accepted_at, segment
    ) = 1
),

ranked as (
    select
        promotion_id,
        location_id,
        item_ids,
        row_number() over (
            partition by promotion_id order by updated_at desc, content_hash asc
        ) = 1 and not is_deleted as is_in_force,
        starts_at,
        ends_at,
        updated_at,
        content_hash,
        max(accepted_at) over (partition by promotion_id) as accepted_at
    from versions
),

promoted_items as (
    select
        ranked.promotion_id,
        items.item_id,
        ranked.location_id,
        ranked.is_in_force,
        ranked.starts_at,
        ranked.ends_at,
        ranked.updated_at,
        ranked.content_hash,
        ranked.accepted_at
    from ranked
    inner join items on {{ json_list_contains('ranked.item_ids', 'items.item_id') }}
)

select *
from promoted_items
