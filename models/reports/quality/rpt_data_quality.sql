-- one row per source, entity, reason and detail: how many records could not be taken, or not whole;
-- the detail names the field and the rule, never a value
with segment_issues as (
    select *
    from {{ ref('int_quality__segment_issues') }}
    where reason is not null
),

conflicts as (
    select *
    from {{ ref('int_quality__conflicts') }}
),

issues as (
    select
        source,
        entity,
        reason,
        coalesce(detail, '') as detail,
        records,
        newest_received_at
    from segment_issues
    union all
    select
        source,
        entity,
        'conflict' as reason,
        detail,
        records,
        newest_received_at
    from conflicts
),

data_quality as (
    select
        source,
        entity,
        reason,
        detail,
        reason != 'unreadable_field' as is_left_out,
        cast(sum(records) as bigint) as records,
        max(newest_received_at) as newest_received_at
    from issues
    group by source, entity, reason, detail
)

select *
from data_quality
