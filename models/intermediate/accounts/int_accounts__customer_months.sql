-- one row per customer and month in which something that we publish changed: of several versions in
-- a month the last counts, and a version that changes nothing we publish (a new mail address)
-- leaves no trace; who has deleted the account keeps one row without any attribute
with customers as (
    select
        customer_key,
        community_id,
        age_group,
        sex,
        region,
        is_deleted,
        family_joined_at,
        family_left_at,
        updated_at
    from {{ ref('anon_accounts__customers') }}
),

monthly as (
    select
        customer_key,
        community_id,
        age_group,
        sex,
        region,
        family_joined_at is not null
        and (family_left_at is null or family_left_at < family_joined_at) as is_family_member,
        cast({{ dbt.date_trunc('month', 'family_joined_at') }} as date) as family_joined_on,
        cast({{ dbt.date_trunc('month', 'updated_at') }} as date) as valid_from
    from customers
    where not is_deleted
    qualify row_number() over (
        partition by customer_key, {{ dbt.date_trunc('month', 'updated_at') }}
        order by updated_at desc
    ) = 1
),

-- Each value is led by its length, so that no two different rows can read the same.
described as (
    select
        customer_key,
        community_id,
        age_group,
        sex,
        region,
        coalesce(length(age_group) || ':' || age_group, '-')
        || coalesce(length(sex) || ':' || sex, '-')
        || coalesce(length(region) || ':' || region, '-')
        || coalesce(length(community_id) || ':' || community_id, '-')
        || case when is_family_member then '+' else '-' end
        || coalesce(cast(family_joined_on as varchar), '-') as attributes,
        is_family_member,
        family_joined_on,
        valid_from
    from monthly
),

changes as (
    select *
    from described
    qualify
        lag(attributes) over (partition by customer_key order by valid_from) is null
        or lag(attributes) over (partition by customer_key order by valid_from) != attributes
),

deleted as (
    select customer_key
    from customers
    qualify
        is_deleted
        and row_number() over (partition by customer_key order by updated_at desc) = 1
),

dated as (
    select
        changes.customer_key,
        changes.community_id,
        changes.age_group,
        changes.sex,
        changes.region,
        changes.attributes,
        changes.is_family_member,
        false as is_deleted,
        lag(changes.valid_from) over (
            partition by changes.customer_key order by changes.valid_from
        ) is null as is_first,
        lead(changes.valid_from) over (
            partition by changes.customer_key order by changes.valid_from
        ) is null as is_current,
        changes.family_joined_on,
        changes.valid_from,
        lead(changes.valid_from) over (
            partition by changes.customer_key order by changes.valid_from
        ) as valid_to
    from changes
    left join deleted on changes.customer_key = deleted.customer_key
    where deleted.customer_key is null
),

emptied as (
    select
        customer_key,
        cast(null as varchar) as community_id,
        cast(null as varchar) as age_group,
        cast(null as varchar) as sex,
        cast(null as varchar) as region,
        '' as attributes,
        cast(null as boolean) as is_family_member,
        true as is_deleted,
        true as is_first,
        true as is_current,
        cast(null as date) as family_joined_on,
        cast('1900-01-01' as date) as valid_from,
        cast(null as date) as valid_to
    from deleted
),

months as (
    select * from dated
    union all
    select * from emptied
)

select *
from months
