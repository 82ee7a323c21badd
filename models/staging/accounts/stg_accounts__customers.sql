-- one row per accepted record of accounts/customers; what was delivered twice is here
-- twice: the next layer removes it, where only new records are looked at
with records as (
    select
        payload,
        unreadable_fields,
        content_hash,
        segment,
        received_at,
        accepted_at,
        commerce_token
    from {{ source('accounts', 'customers') }}
),

typed as (
    select
        commerce_token as customer_token,
        {{ json_text('payload', 'community_id') }} as community_id,
        {{ json_text('payload', 'full_name') }} as full_name,
        {{ json_text('payload', 'email') }} as email,
        {{ json_text('payload', 'phone') }} as phone,
        {{ json_text('payload', 'sex') }} as sex,
        {{ json_text('payload', 'postcode') }} as postcode,
        {{ json_text('payload', 'region') }} as region,
        {{ json_text('payload', 'dietary_preferences', is_checked=true) }} as dietary_preferences,
        coalesce({{ try_read(json_text('payload', 'is_deleted'), 'boolean') }}, false)
            as is_deleted,
        {{ try_read(json_text('payload', 'birth_date', is_checked=true), 'date') }} as birth_date,
        {{ try_read(json_text('payload', 'registered_at'), 'timestamp') }} as registered_at,
        {{ try_read(json_text('payload', 'family_joined_at', is_checked=true), 'timestamp') }}
            as family_joined_at,
        {{ try_read(json_text('payload', 'family_left_at', is_checked=true), 'timestamp') }}
            as family_left_at,
        {{ try_read(json_text('payload', 'updated_at'), 'timestamp') }} as updated_at,
        content_hash,
        segment,
        received_at,
        accepted_at
    from records
)

select *
from typed
