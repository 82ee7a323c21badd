-- one row per accepted record of feedback/ratings; what was delivered twice is here
-- twice: the next layer removes it, where only new records are looked at
with records as (
    select
        payload,
        content_hash,
        segment,
        received_at,
        accepted_at,
        commerce_token
    from {{ source('feedback', 'ratings') }}
),

typed as (
    select
        commerce_token as customer_token,
        {{ json_text('payload', 'rating_id') }} as rating_id,
        {{ json_text('payload', 'item_id') }} as item_id,
        {{ json_text('payload', 'comment') }} as comment,
        {{ try_read(json_text('payload', 'rating'), 'integer') }} as rating,
        coalesce({{ try_read(json_text('payload', 'is_deleted'), 'boolean') }}, false)
            as is_deleted,
        {{ try_read(json_text('payload', 'rated_at'), 'timestamp') }} as rated_at,
        {{ try_read(json_text('payload', 'updated_at'), 'timestamp') }} as updated_at,
        content_hash,
        segment,
        received_at,
        accepted_at
    from records
)

select *
from typed
