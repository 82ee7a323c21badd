-- one row per accepted record of trends/food_trends; what was delivered twice is here
-- twice: the next layer removes it, where only new records are looked at
with records as (
    select
        payload,
        content_hash,
        segment,
        received_at,
        accepted_at
    from {{ source('trends', 'food_trends') }}
),

typed as (
    select
        {{ json_text('payload', 'region') }} as region,
        {{ json_text('payload', 'topic') }} as topic,
        {{ json_text('payload', 'item_tag') }} as item_tag,
        {{ try_read(json_text('payload', 'week_start'), 'date') }} as week_start,
        {{ try_read(json_text('payload', 'trend_index'), 'number') }} as trend_index,
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
