-- How many delivery events were there in all?
-- chart: events, good_positions by first_date
with trip_events as (
    select *
    from {{ ref('fct_trip_events') }}
),

answers as (
    select
        count(*) as events,
        sum(case when position_flag = 'good' then 1 else 0 end) as good_positions,
        count(distinct trip_id) as trips,
        cast(min(occurred_at) as date) as first_date,
        cast(max(occurred_at) as date) as last_date
    from trip_events
    having count(*) > 0
)

select *
from answers
order by events
