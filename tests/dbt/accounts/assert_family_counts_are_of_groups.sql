-- every count that is shown is zero or of at least `minimum_people`, and a row shows all or none
select
    scope,
    scope_id,
    period,
    period_start
from {{ ref('fct_family_counts') }}
where
    new_members between 1 and {{ var('minimum_people') }} - 1
    or members between 1 and {{ var('minimum_people') }} - 1
    or left_members between 1 and {{ var('minimum_people') }} - 1
    or members - new_members + left_members between 1 and {{ var('minimum_people') }} - 1
    or (new_members is null) != is_suppressed
    or (members is null) != is_suppressed
    or (left_members is null) != is_suppressed
