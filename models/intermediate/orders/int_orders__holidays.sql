-- one row per region and public holiday that the catalogue's calendar knows
with region_dates as (
    select *
    from {{ ref('dim_region_dates') }}
),

holidays as (
    select
        region,
        calendar_date
    from region_dates
    where is_holiday
)

select *
from holidays
