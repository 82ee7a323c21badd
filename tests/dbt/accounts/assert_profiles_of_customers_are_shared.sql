-- the whole of what dim_customers tells of a customer is told of at least `minimum_people`
-- customers
with profiles as (
    select
        customer_key,
        {{ dbt.listagg(
            "concat_ws('|', valid_from, coalesce(age_group, '-'), coalesce(sex, '-'), "
            ~ "coalesce(region, '-'), coalesce(community_id, '-'), "
            ~ "coalesce(cast(is_family_member as varchar), '-'), "
            ~ "coalesce(cast(family_joined_on as varchar), '-'))",
            "';'", "order by valid_from"
        ) }} as profile
    from {{ ref('dim_customers') }}
    group by customer_key
),

shared as (
    select
        profile,
        count(*) as people
    from profiles
    group by profile
),

-- with fewer customers than that in all, nothing is told of any
everybody as (
    select
        sum(people) as people,
        count(*) as profiles
    from shared
)

select shared.people
from shared
cross join everybody
where
    shared.people < {{ var('minimum_people') }}
    and not (everybody.people < {{ var('minimum_people') }} and everybody.profiles = 1)
