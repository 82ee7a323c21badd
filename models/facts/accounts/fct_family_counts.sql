-- one row per place (network, region, community), month or quarter, with its counts or without any.
-- Siblings are shown all or none, months of a quarter all or none, a place only where its parent
-- is, and regions and communities only from the last small count on: so nothing that is hidden is
-- the difference of things that are shown, neither between places nor between times
{{ config(materialized='table') }}

with counts as (
    select
        scope,
        scope_id,
        parent_id,
        period,
        new_members,
        members,
        left_members,
        period_start,
        quarter_start
    from {{ ref('int_accounts__family_counts') }}
),

-- A row is small when it, or the stock of members it begins with, is a group of fewer than
-- `minimum_people`. Nobody at all is no group: a zero tells of no person.
judged as (
    select
        scope,
        scope_id,
        parent_id,
        period,
        new_members,
        members,
        left_members,
        case
            when
                new_members between 1 and {{ var('minimum_people') }} - 1
                or members between 1 and {{ var('minimum_people') }} - 1
                or left_members between 1 and {{ var('minimum_people') }} - 1
                or members - new_members + left_members
                between 1 and {{ var('minimum_people') }} - 1
                then 1
            else 0
        end as is_small,
        period_start,
        quarter_start
    from counts
),

-- one row per family of siblings and quarter; all months of the quarter are judged together
families as (
    select
        scope,
        parent_id,
        period,
        quarter_start,
        max(is_small) as is_small
    from judged
    group by scope, parent_id, period, quarter_start
),

networks as (
    select
        quarters.quarter_start,
        quarters.is_small = 0 as has_quarter,
        months.is_small = 0 as has_safe_months
    from families as quarters
    inner join families as months on quarters.quarter_start = months.quarter_start
    where
        quarters.scope = 'network'
        and quarters.period = 'quarter'
        and months.scope = 'network'
        and months.period = 'month'
),

-- Between two quarters that are shown the stocks tell what one between them that is hidden has
-- gained: with the parent's counts that can give a small one away. So there is none between.
regions as (
    select
        quarters.quarter_start,
        min(
            case when networks.has_quarter and quarters.is_small = 0 then 1 else 0 end
        ) over (
            order by quarters.quarter_start rows between current row and unbounded following
        ) = 1 as has_quarter,
        networks.has_quarter and networks.has_safe_months and months.is_small = 0 as has_safe_months
    from families as quarters
    inner join families as months on quarters.quarter_start = months.quarter_start
    inner join networks on quarters.quarter_start = networks.quarter_start
    where
        quarters.scope = 'region'
        and quarters.period = 'quarter'
        and months.scope = 'region'
        and months.period = 'month'
),

communities as (
    select
        quarters.parent_id,
        quarters.quarter_start,
        min(
            case when regions.has_quarter and quarters.is_small = 0 then 1 else 0 end
        ) over (
            partition by quarters.parent_id
            order by quarters.quarter_start rows between current row and unbounded following
        ) = 1 as has_quarter,
        regions.has_quarter and regions.has_safe_months and months.is_small = 0 as has_safe_months
    from families as quarters
    inner join families as months
        on
            quarters.quarter_start = months.quarter_start
            and quarters.parent_id = months.parent_id
    inner join regions on quarters.quarter_start = regions.quarter_start
    where
        quarters.scope = 'community'
        and quarters.period = 'quarter'
        and months.scope = 'community'
        and months.period = 'month'
),

shown as (
    select
        'network' as scope,
        cast(null as varchar) as parent_id,
        quarter_start,
        has_quarter,
        has_safe_months
    from networks
    union all
    select
        'region' as scope,
        'network' as parent_id,
        quarter_start,
        has_quarter,
        has_safe_months
    from regions
    union all
    select
        'community' as scope,
        parent_id,
        quarter_start,
        has_quarter,
        has_safe_months
    from communities
),

suppressed as (
    select
        judged.scope,
        judged.scope_id,
        judged.period,
        shown.has_quarter and (judged.period = 'quarter' or shown.has_safe_months) as is_shown,
        judged.new_members,
        judged.members,
        judged.left_members,
        judged.period_start
    from judged
    inner join shown
        on
            judged.scope = shown.scope
            and judged.quarter_start = shown.quarter_start
            and coalesce(judged.parent_id, '') = coalesce(shown.parent_id, '')
    -- what has no name is published by subtraction, and is not small when it is
    where judged.scope_id is not null
),

final as (
    select
        scope,
        scope_id,
        period,
        cast(case when is_shown then new_members end as bigint) as new_members,
        cast(case when is_shown then members end as bigint) as members,
        cast(case when is_shown then left_members end as bigint) as left_members,
        not is_shown as is_suppressed,
        period_start
    from suppressed
)

select *
from final
