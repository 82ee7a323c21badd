-- one row per accepted record of content/contents; what was delivered twice is here
-- twice: the next layer removes it, where only new records are looked at
with records as (
    select
        payload,
        unreadable_fields,
        content_hash,
        segment,
        received_at,
        accepted_at
    from {{ source('content', 'contents') }}
),

typed as (
    select
        {{ json_text('payload', 'content_id') }} as content_id,
        {{ json_text('payload', 'kind') }} as kind,
        {{ json_text('payload', 'title') }} as title,
        {{ json_text('payload', 'tags') }} as tags,
        {{ json_text('payload', 'region') }} as region,
        coalesce({{ try_read(json_text('payload', 'is_deleted'), 'boolean') }}, false)
            as is_deleted,
        {{ try_read(json_text('payload', 'valid_until', is_checked=true), 'timestamp') }}
            as valid_until,
        {{ try_read(json_text('payload', 'updated_at'), 'timestamp') }} as updated_at,
        content_hash,
        segment,
        received_at,
        accepted_at
    from records
)

select *
from typed
