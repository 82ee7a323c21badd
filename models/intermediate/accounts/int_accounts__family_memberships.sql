-- one row per customer who ever was in the family programme, from the first joining to the last
-- leaving: a person is counted once as new and once as left, so that a count is a count of people.
-- Region and community are those of today; a community belongs to the region where most of its
-- members live, so that communities nest in regions
with customers as (
    select
        customer_key,
        community_id,
        region,
        is_deleted,
        is_current,
        family_joined_at,
        family_left_at,
        updated_at
    from {{ ref('anon_accounts__customers') }}
),

spans as (
    select
        customer_key,
        min(family_joined_at) as joined_at,
        max(family_left_at) as last_left_at
    from customers
    where not is_deleted
    group by customer_key
),

ended as (
    select
        customers.customer_key,
        customers.region,
        customers.community_id,
        spans.joined_at,
        case
            -- the account is gone, or the joining was taken back
            when customers.is_deleted or customers.family_joined_at is null
                then
                    greatest(
                        coalesce(spans.last_left_at, customers.updated_at), spans.joined_at
                    )
            -- not before the first joining, because that is not after the last
            when customers.family_left_at >= customers.family_joined_at
                then customers.family_left_at
        end as left_at
    from customers
    inner join spans on customers.customer_key = spans.customer_key
    where customers.is_current and spans.joined_at is not null
),

community_regions as (
    select
        community_id,
        region
    from ended
    where community_id is not null and region is not null
    group by community_id, region
    qualify row_number() over (
        partition by community_id order by count(*) desc, region
    ) = 1
),

memberships as (
    select
        ended.customer_key,
        ended.region,
        community_regions.community_id,
        cast({{ dbt.date_trunc('month', 'ended.joined_at') }} as date) as joined_month,
        cast({{ dbt.date_trunc('month', 'ended.left_at') }} as date) as left_month
    from ended
    left join community_regions
        on
            ended.community_id = community_regions.community_id
            and ended.region = community_regions.region
)

select *
from memberships
