-- one row per region, topic, item tag and week: its newest version
with records as (
    select *
    from {{ ref('stg_trends__food_trends') }}
),

newest as (
    select *
    from records
    qualify row_number() over (
        partition by region, topic, item_tag, week_start
        order by updated_at desc, content_hash asc, accepted_at asc, segment asc
    ) = 1
),

food_trends as (
    select
        region,
        topic,
        item_tag,
        week_start,
        trend_index
    from newest
    where not is_deleted
)

select *
from food_trends
