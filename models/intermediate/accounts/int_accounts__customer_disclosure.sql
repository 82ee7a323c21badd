-- one row per customer: how much of the customer may be published, from 0 (all) to 8 (nothing). The
-- rows of one customer can be joined, so all that they tell together is one profile; a profile is
-- published only when at least `minimum_people` customers share it, whole. Who shares too little
-- loses the rightmost part and is looked at again, among those who are left only
with months as (
    select
        customer_key,
        community_id,
        age_group,
        sex,
        region,
        attributes,
        is_family_member,
        is_deleted,
        is_first,
        is_current,
        family_joined_on,
        valid_from
    from {{ ref('int_accounts__customer_months') }}
),

histories as (
    select
        customer_key,
        {{ dbt.listagg(
            "cast(valid_from as varchar) || attributes", "';'", "order by valid_from"
        ) }} as history,
        {{ dbt.listagg(
            "case when is_first then '' else cast(valid_from as varchar) end || attributes",
            "';'", "order by valid_from"
        ) }} as history_after_start
    from months
    group by customer_key
),

-- Each value is led by its length, so that no two different profiles can read the same.
customers as (
    select
        months.customer_key,
        months.attributes,
        histories.history,
        histories.history_after_start,
        coalesce(length(months.age_group) || ':' || months.age_group, '-') as age_group,
        coalesce(length(months.sex) || ':' || months.sex, '-') as sex,
        coalesce(length(months.region) || ':' || months.region, '-') as region,
        coalesce(length(months.community_id) || ':' || months.community_id, '-') as community_id,
        case when months.is_family_member then '+' else '-' end as is_family_member,
        case when months.is_deleted then 8 end as level_before
    from months
    inner join histories on months.customer_key = histories.customer_key
    where months.is_current
),

profiles as (
    select
        customer_key,
        history as profile_0,
        history_after_start as profile_1,
        attributes as profile_2,
        age_group || sex || region || community_id || is_family_member as profile_3,
        age_group || sex || region || community_id as profile_4,
        age_group || sex || region as profile_5,
        age_group || sex as profile_6,
        age_group as profile_7,
        level_before
    from customers
),
{% for level in range(8) %}
{%- set before = 'level_before' if level == 0 else 'level_' ~ (level - 1) %}
shared_{{ level }} as (
    select
        *,
        coalesce(
            {{ before }},
            case
                when
                    count(*) over (partition by {{ before }}, profile_{{ level }})
                    >= {{ var('minimum_people') }}
                    then {{ level }}
            end
        ) as level_{{ level }}
    from {{ 'profiles' if level == 0 else 'shared_' ~ (level - 1) }}
),
{% endfor %}
levels as (
    select
        customer_key,
        coalesce(level_7, 8) as disclosure_level,
        case level_7
            when 0 then profile_0
            when 1 then profile_1
            when 2 then profile_2
            when 3 then profile_3
            when 4 then profile_4
            when 5 then profile_5
            when 6 then profile_6
            when 7 then profile_7
        end as profile
    from shared_7
),

hidden as (
    select count(*) as people
    from levels
    where disclosure_level = 8
),

-- Fewer than `minimum_people` who are all hidden would stand out by just that: the smallest group
-- of those who tell least joins them.
companions as (
    select
        levels.disclosure_level,
        levels.profile
    from levels
    cross join hidden
    where
        levels.disclosure_level < 8
        and hidden.people between 1 and {{ var('minimum_people') }} - 1
    group by levels.disclosure_level, levels.profile
    qualify row_number() over (
        order by levels.disclosure_level desc, count(*) asc, levels.profile asc
    ) = 1
),

decided as (
    select
        levels.customer_key,
        case
            when companions.profile is not null then 8
            else levels.disclosure_level
        end as disclosure_level
    from levels
    left join companions
        on
            levels.disclosure_level = companions.disclosure_level
            and levels.profile = companions.profile
)

select *
from decided
