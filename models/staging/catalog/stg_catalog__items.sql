-- one row per accepted record of catalog/items; what was delivered twice is here
-- twice: the next layer removes it, where only new records are looked at
with records as (
    select
        payload,
        unreadable_fields,
        content_hash,
        segment,
        received_at,
        accepted_at
    from {{ source('catalog', 'items') }}
),

typed as (
    select
        {{ json_text('payload', 'item_id') }} as item_id,
        {{ json_text('payload', 'kitchen_id') }} as kitchen_id,
        {{ json_text('payload', 'item_name') }} as item_name,
        {{ json_text('payload', 'category') }} as category,
        {{ json_text('payload', 'tags', is_checked=true) }} as tags,
        {{ json_text('payload', 'allergens', is_checked=true) }} as allergens,
        cast(
            {{ try_read(json_text('payload', 'price_usd'), 'number') }} as numeric(18, 4)
        ) as price_usd,
        cast(
            {{ try_read(json_text('payload', 'unit_cost_usd'), 'number') }} as numeric(18, 4)
        ) as unit_cost_usd,
        cast(
            {{ try_read(json_text('payload', 'disposal_cost_usd', is_checked=true), 'number') }}
            as numeric(18, 4)
        ) as disposal_cost_usd,
        {{ try_read(json_text('payload', 'shelf_life_days'), 'integer') }} as shelf_life_days,
        {{ try_read(json_text('payload', 'pack_size', is_checked=true), 'integer') }} as pack_size,
        {{ try_read(json_text('payload', 'order_lead_hours', is_checked=true), 'number') }}
            as order_lead_hours,
        coalesce({{ try_read(json_text('payload', 'is_deleted'), 'boolean') }}, false)
            as is_deleted,
        {{ try_read(json_text('payload', 'updated_at'), 'timestamp') }} as updated_at,
        content_hash,
        segment,
        received_at,
        accepted_at
    from records
)

select *
from typed
