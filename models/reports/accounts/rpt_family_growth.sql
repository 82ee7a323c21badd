-- one row per place (network, region, community), month or quarter: how the programme grows;
-- a row shows all its counts or none (see fct_family_counts for what is hidden and why)
with counts as (
    select
        scope,
        scope_id,
        period,
        new_members,
        members,
        left_members,
        is_suppressed,
        period_start
    from {{ ref('fct_family_counts') }}
),

growth as (
    select
        scope,
        scope_id,
        period,
        new_members,
        members,
        left_members,
        -- null where nobody was a member before, too
        cast(new_members - left_members as double)
        / nullif(members - new_members + left_members, 0) as growth_share,
        is_suppressed,
        period_start
    from counts
)

select *
from growth
