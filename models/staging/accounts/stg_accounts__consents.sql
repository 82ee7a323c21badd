-- one row per accepted record of accounts/consents; what was delivered twice is here
-- twice: the next layer removes it, where only new records are looked at
with records as (
    select
        payload,
        content_hash,
        segment,
        received_at,
        accepted_at,
        commerce_token
    from {{ source('accounts', 'consents') }}
),

typed as (
    select
        commerce_token as customer_token,
        {{ json_text('payload', 'purpose') }} as purpose,
        {{ try_read(json_text('payload', 'is_granted'), 'boolean') }} as is_granted,
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
