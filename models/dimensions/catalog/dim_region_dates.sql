-- one row per region and day that the catalogue's calendar knows: its newest version; a holiday or
-- the weather is one of a region, so it is here and not in dim_dates
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

region_dates as (
    select
        region,
        cast(rain_millimetres as numeric(18, 3)) as rain_millimetres,
        cast(temperature_celsius as numeric(18, 3)) as temperature_celsius,
        is_holiday,
        is_school_holiday,
        calendar_date,
        updated_at
    from newest
    where not is_deleted
)

select *
from region_dates
