-- one row per day of the calendar that Larder knows; weeks are ISO weeks, which begin on Monday
with dates as (
    select calendar_date
    from {{ ref('int_clock__dates') }}
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
        calendar_date as date_key,
        calendar_date,
        case days_after_monday
            when 0 then 'mon'
            when 1 then 'tue'
            when 2 then 'wed'
            when 3 then 'thu'
            when 4 then 'fri'
            when 5 then 'sat'
            else 'sun'
        end as weekday,
        cast(extract(year from calendar_date) as integer) as year,
        cast(extract(quarter from calendar_date) as integer) as quarter,
        cast(extract(month from calendar_date) as integer) as month,
        cast(extract(day from calendar_date) as integer) as day_of_month,
        cast(extract(year from thursday) as integer) as iso_year,
        cast(
            floor(
                {{ dbt.datediff(
                    dbt.date_trunc('year', 'thursday'), 'thursday', 'day'
                ) }} / 7 -- noqa: LT05
            ) + 1 as integer
        ) as iso_week,
        days_after_monday >= 5 as is_weekend,
        week_start,
        cast({{ dbt.date_trunc('month', 'calendar_date') }} as date) as month_start,
        cast({{ dbt.date_trunc('quarter', 'calendar_date') }} as date) as quarter_start
    from weeks
)

select *
from described
