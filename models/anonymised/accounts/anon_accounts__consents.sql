-- one row per customer, purpose and moment of change; no row means no consent
with records as (
    select
        customer_token,
        purpose,
        is_granted,
        is_deleted,
        updated_at,
        content_hash,
        segment,
        accepted_at
    from {{ ref('stg_accounts__consents') }}
),

versions as (
    select
        customer_token as customer_key,
        purpose,
        -- a consent that is deleted is not there
        is_granted and not is_deleted as is_granted,
        updated_at,
        accepted_at
    from records
    where customer_token is not null
    qualify row_number() over (
        partition by customer_token, purpose, updated_at
        order by content_hash, accepted_at, segment
    ) = 1
),

ranked as (
    select
        customer_key,
        purpose,
        is_granted,
        row_number() over (
            partition by customer_key, purpose order by updated_at desc
        ) = 1 as is_current,
        updated_at,
        accepted_at
    from versions
)

select *
from ranked
