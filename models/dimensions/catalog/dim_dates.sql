-- one row per day of the calendar that Larder knows; weeks are ISO weeks, which begin on Monday.
-- Here holidays are those of all regions with a location, the weather is their mean; what holds in
-- one region is in dim_region_dates
with dates as (
    select calendar_date
    from {{ ref('int_clock__dates') }}
),

region_dates as (
    select *
    from {{ ref('dim_region_dates') }}
),

locations as (
    select *
    from {{ ref('int_catalog__locations') }}
),

regions as (
    select
        region,
        count(*) over () as region_count
    from locations
    where is_in_service
    group by region
),

-- a region that the calendar says nothing of has no holiday
network_dates as (
    select
        region_dates.calendar_date,
        sum(case when region_dates.is_holiday then 1 else 0 end)
        = max(regions.region_count) as is_holiday,
        sum(case when region_dates.is_school_holiday then 1 else 0 end)
        = max(regions.region_count) as is_school_holiday,
        avg(region_dates.rain_millimetres) as rain_millimetres,
        avg(region_dates.temperature_celsius) as temperature_celsius
    from region_dates
    inner join regions on region_dates.region = regions.region
    group by region_dates.calendar_date
),

numbered as (
    select
        calendar_date,
        -- 1900-01-01 was a Monday; engines count weekdays differently, days they count alike
        {{ dbt.datediff("cast('1900-01-01' as date)", 'calendar_date', 'day') }} -- noqa: LT05
        % 7 as days_after_monday
    from dates
),

weeks as (
    select
        calendar_date,
        days_after_monday,
        calendar_date - cast(days_after_monday as integer) as week_start,
        -- the Thursday of a week says which year the week belongs to
        calendar_date - cast(days_after_monday as integer) + 3 as thursday
    from numbered
),

described as (
    select
        weeks.calendar_date,
        case weeks.days_after_monday
            when 0 then 'mon'
            when 1 then 'tue'
            when 2 then 'wed'
            when 3 then 'thu'
            when 4 then 'fri'
            when 5 then 'sat'
            else 'sun'
        end as weekday,
        cast(extract(year from weeks.calendar_date) as integer) as year,
        cast(extract(quarter from weeks.calendar_date) as integer) as quarter,
        cast(extract(month from weeks.calendar_date) as integer) as month,
        cast(extract(day from weeks.calendar_date) as integer) as day_of_month,
        cast(extract(year from weeks.thursday) as integer) as iso_year,
        cast(
            floor(
                {{ dbt.datediff(
                    dbt.date_trunc('year', 'weeks.thursday'), 'weeks.thursday', 'day'
                ) }} / 7 -- noqa: LT05
            ) + 1 as integer
        ) as iso_week,
        cast(network_dates.rain_millimetres as numeric(18, 3)) as rain_millimetres,
        cast(network_dates.temperature_celsius as numeric(18, 3)) as temperature_celsius,
        weeks.days_after_monday >= 5 as is_weekend,
        coalesce(network_dates.is_holiday, false) as is_holiday,
        coalesce(network_dates.is_school_holiday, false) as is_school_holiday,
        weeks.week_start,
        cast({{ dbt.date_trunc('month', 'weeks.calendar_date') }} as date) as month_start,
        cast({{ dbt.date_trunc('quarter', 'weeks.calendar_date') }} as date) as quarter_start
    from weeks
    left join network_dates on weeks.calendar_date = network_dates.calendar_date
)

select *
from described
