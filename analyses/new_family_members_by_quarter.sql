-- How many people joined and left the members' programme in each quarter, by region?
-- chart: new_members, left_members by scope_id, quarter_start
with growth as (
    select *
    from {{ ref('rpt_family_growth') }}
),

answers as (
    select
        scope,
        scope_id,
        period_start as quarter_start,
        new_members,
        left_members,
        members,
        is_suppressed
    from growth
    where period = 'quarter' and scope in ('network', 'region')
)

select *
from answers
order by scope, scope_id, quarter_start
