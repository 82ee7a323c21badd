-- one row per place (network, region, community), month or quarter: the true counts, which are not
-- published. A place without a name is what its siblings leave over of their parent. Quarters are
-- whole ones before now, and months those of whole quarters: they nest, as weeks and months do not
with memberships as (
    select
        region,
        community_id,
        joined_month,
        left_month
    from {{ ref('int_accounts__family_memberships') }}
),

dates as (
    select calendar_date
    from {{ ref('int_clock__dates') }}
),

as_of as (
    select as_of_at
    from {{ ref('int_clock__now') }}
),

first_quarter as (
    select cast({{ dbt.date_trunc('quarter', 'min(joined_month)') }} as date) as quarter_start
    from memberships
),

months as (
    select
        dates.calendar_date as month_start,
        cast({{ dbt.date_trunc('quarter', 'dates.calendar_date') }} as date) as quarter_start
    from dates
    cross join as_of
    cross join first_quarter
    where
        extract(day from dates.calendar_date) = 1
        and dates.calendar_date >= first_quarter.quarter_start
        and dates.calendar_date
        < cast({{ dbt.date_trunc('quarter', 'as_of.as_of_at') }} as date)
),

members_of_places as (
    select
        'network' as scope,
        'network' as scope_id,
        cast(null as varchar) as parent_id,
        joined_month,
        left_month
    from memberships
    union all
    select
        'region' as scope,
        region as scope_id,
        'network' as parent_id,
        joined_month,
        left_month
    from memberships
    union all
    select
        'community' as scope,
        community_id as scope_id,
        region as parent_id,
        joined_month,
        left_month
    from memberships
    where region is not null
),

places as (
    select distinct
        scope,
        scope_id,
        parent_id
    from members_of_places
),

changes as (
    select
        scope,
        scope_id,
        parent_id,
        joined_month as month_start,
        1 as new_members,
        0 as left_members
    from members_of_places
    union all
    select
        scope,
        scope_id,
        parent_id,
        left_month as month_start,
        0 as new_members,
        1 as left_members
    from members_of_places
    where left_month is not null
    union all
    -- every place has every month
    select
        places.scope,
        places.scope_id,
        places.parent_id,
        months.month_start,
        0 as new_members,
        0 as left_members
    from places
    cross join months
),

monthly as (
    select
        changes.scope,
        changes.scope_id,
        changes.parent_id,
        months.quarter_start,
        months.month_start,
        sum(changes.new_members) as new_members,
        sum(changes.left_members) as left_members
    from changes
    inner join months on changes.month_start = months.month_start
    group by
        changes.scope, changes.scope_id, changes.parent_id, months.quarter_start, months.month_start
),

periods as (
    select
        scope,
        scope_id,
        parent_id,
        'month' as period,
        month_start as period_start,
        quarter_start,
        new_members,
        left_members
    from monthly
    union all
    select
        scope,
        scope_id,
        parent_id,
        'quarter' as period,
        quarter_start as period_start,
        quarter_start,
        sum(new_members) as new_members,
        sum(left_members) as left_members
    from monthly
    group by scope, scope_id, parent_id, quarter_start
),

counted as (
    select
        scope,
        scope_id,
        parent_id,
        period,
        new_members,
        sum(new_members - left_members) over (
            partition by scope, scope_id, parent_id, period order by period_start
            rows between unbounded preceding and current row
        ) as members,
        left_members,
        period_start,
        quarter_start
    from periods
)

select *
from counted
