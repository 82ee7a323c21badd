-- one row per region and public holiday that the catalogue's calendar knows
with records as (
    select *
    from {{ ref('stg_catalog__calendar') }}
),

newest as (
    select *
    from records
    qualify row_number() over (
        partition by region, calendar_date
        order by updated_at desc, content_hash asc, accepted_at asc, segment asc
    ) = 1
),

holidays as (
    select
        region,
        calendar_date
    from newest
    where is_holiday and not is_deleted
)

select *
from holidays
