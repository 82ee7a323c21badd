-- one row per customer who was ever asked about targeting: since when the consent that holds now
-- has held without a break; null after a withdrawal, which also ends what was agreed to before it
with consents as (
    select *
    from {{ ref('anon_accounts__consents') }}
    where purpose = 'targeting'
),

marked as (
    select
        customer_key,
        is_granted,
        max(case when not is_granted then updated_at end) over (
            partition by customer_key
        ) as withdrawn_at,
        updated_at,
        accepted_at
    from consents
),

since as (
    select
        customer_key,
        min(
            case
                when is_granted and (withdrawn_at is null or updated_at > withdrawn_at)
                    then updated_at
            end
        ) as consented_at,
        max(accepted_at) as accepted_at
    from marked
    group by customer_key
)

select *
from since
