-- one row per day of the calendar that Larder knows; counted up from digits, which every engine can
with digits as (
    {% for digit in range(10) -%}
    select {{ digit }} as digit{{ ' union all' if not loop.last }}
    {% endfor %}
),

numbers as (
    select
        ones.digit + 10 * tens.digit + 100 * hundreds.digit + 1000 * thousands.digit
        + 10000 * myriads.digit as day_number
    from digits as ones
    cross join digits as tens
    cross join digits as hundreds
    cross join digits as thousands
    cross join digits as myriads
),

dates as (
    select cast('{{ var("first_date") }}' as date) + day_number as calendar_date
    from numbers
    where
        cast('{{ var("first_date") }}' as date) + day_number
        <= cast('{{ var("last_date") }}' as date)
)

select *
from dates
