-- one row per rating and moment of change, without its comment: people write names into comments
with records as (
    select
        customer_token,
        rating_id,
        item_id,
        rating,
        is_deleted,
        rated_at,
        updated_at,
        content_hash,
        segment,
        accepted_at
    from {{ ref('stg_feedback__ratings') }}
),

versions as (
    select
        rating_id,
        customer_token as customer_key,
        item_id,
        rating,
        is_deleted,
        rated_at,
        updated_at,
        accepted_at
    from records
    where customer_token is not null
    qualify row_number() over (
        partition by rating_id, updated_at order by content_hash, accepted_at, segment
    ) = 1
),

ranked as (
    select
        rating_id,
        customer_key,
        item_id,
        rating,
        is_deleted,
        row_number() over (partition by rating_id order by updated_at desc) = 1 as is_current,
        rated_at,
        updated_at,
        accepted_at
    from versions
)

select *
from ranked
