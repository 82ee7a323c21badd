-- one row per accepted record of catalog/promotions; what was delivered twice is here
-- twice: the next layer removes it, where only new records are looked at
with records as (
    select
        payload,
        content_hash,
        segment,
        received_at,
        accepted_at
    from {{ source('catalog', 'promotions') }}
),

typed as (
    select
        {{ json_text('payload', 'promotion_id') }} as promotion_id,
        {{ json_text('payload', 'location_id') }} as location_id,
        {{ json_text('payload', 'kind') }} as kind,
        {{ json_text('payload', 'item_ids') }} as item_ids,
        {{ try_read(json_text('payload', 'discount_percent'), 'number') }} as discount_percent,
        coalesce({{ try_read(json_text('payload', 'is_deleted'), 'boolean') }}, false)
            as is_deleted,
        {{ try_read(json_text('payload', 'starts_at'), 'timestamp') }} as starts_at,
        {{ try_read(json_text('payload', 'ends_at'), 'timestamp') }} as ends_at,
        {{ try_read(json_text('payload', 'updated_at'), 'timestamp') }} as updated_at,
        content_hash,
        segment,
        received_at,
        accepted_at
    from records
)

select *
from typed
