-- one row per customer and time in force, in months; what fewer than `minimum_people` customers
-- share is null (see int_accounts__customer_disclosure). Where the history is hidden one row counts
-- for all times and holds what is so now
with months as (
    select
        customer_key,
        community_id,
        age_group,
        sex,
        region,
        is_family_member,
        is_first,
        is_current,
        family_joined_on,
        valid_from,
        valid_to
    from {{ ref('int_accounts__customer_months') }}
),

disclosure as (
    select
        customer_key,
        disclosure_level
    from {{ ref('int_accounts__customer_disclosure') }}
),

generalised as (
    select
        months.customer_key,
        case when disclosure.disclosure_level <= 4 then months.community_id end as community_id,
        case when disclosure.disclosure_level <= 7 then months.age_group end as age_group,
        case when disclosure.disclosure_level <= 6 then months.sex end as sex,
        case when disclosure.disclosure_level <= 5 then months.region end as region,
        case when disclosure.disclosure_level <= 3 then months.is_family_member end
            as is_family_member,
        months.is_current,
        case when disclosure.disclosure_level <= 2 then months.family_joined_on end
            as family_joined_on,
        case
            when disclosure.disclosure_level = 0 then months.valid_from
            when disclosure.disclosure_level = 1 and not months.is_first then months.valid_from
            else cast('1900-01-01' as date)
        end as valid_from,
        months.valid_to
    from months
    inner join disclosure on months.customer_key = disclosure.customer_key
    where months.is_current or disclosure.disclosure_level <= 1
)

select *
from generalised
