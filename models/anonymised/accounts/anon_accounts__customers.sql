-- one row per customer and moment of change, listed columns only: here, and nowhere else, a birth
-- date becomes an age group and a postcode a region; not even the content hash goes further,
-- because whoever guesses a name could check the guess with it
with records as (
    select
        customer_token,
        community_id,
        sex,
        postcode,
        region,
        is_deleted,
        birth_date,
        registered_at,
        family_joined_at,
        family_left_at,
        updated_at,
        content_hash,
        segment,
        accepted_at
    from {{ ref('stg_accounts__customers') }}
),

age_groups as (
    select
        age_group,
        minimum_age,
        maximum_age
    from {{ ref('age_groups') }}
),

postcode_regions as (
    select
        postcode_prefix,
        region
    from {{ ref('postcode_regions') }}
),

-- of conflicting copies of a version the smallest content hash is valid
versions as (
    select
        customer_token as customer_key,
        community_id,
        nullif(lower(trim(sex)), '') as sex,
        upper(replace(postcode, ' ', '')) as postcode,
        nullif(trim(region), '') as region,
        -- the age on 1 January: only who was born on that day has had the birthday
        extract(year from updated_at) - extract(year from birth_date)
        - case
            when extract(month from birth_date) = 1 and extract(day from birth_date) = 1 then 0
            else 1
        end as age,
        is_deleted,
        registered_at,
        family_joined_at,
        family_left_at,
        updated_at,
        accepted_at
    from records
    where customer_token is not null
    qualify row_number() over (
        partition by customer_token, updated_at order by content_hash, accepted_at, segment
    ) = 1
),

postcodes as (
    select distinct postcode
    from versions
    where region is null
),

located as (
    select
        postcodes.postcode,
        postcode_regions.region
    from postcodes
    inner join postcode_regions
        on
            substr(postcodes.postcode, 1, length(postcode_regions.postcode_prefix))
            = postcode_regions.postcode_prefix
    qualify row_number() over (
        partition by postcodes.postcode
        order by length(postcode_regions.postcode_prefix) desc, postcode_regions.postcode_prefix
    ) = 1
),

anonymised as (
    select
        versions.customer_key,
        versions.community_id,
        age_groups.age_group,
        versions.sex,
        coalesce(versions.region, located.region) as region,
        versions.is_deleted,
        row_number() over (
            partition by versions.customer_key order by versions.updated_at desc
        ) = 1 as is_current,
        cast({{ dbt.date_trunc('month', 'versions.registered_at') }} as date) as registered_month,
        versions.family_joined_at,
        versions.family_left_at,
        versions.updated_at,
        versions.accepted_at
    from versions
    left join age_groups
        on versions.age between age_groups.minimum_age and age_groups.maximum_age
    left join located on versions.postcode = located.postcode
)

select *
from anonymised
