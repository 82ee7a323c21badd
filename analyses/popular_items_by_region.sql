-- What do people of each region like best this quarter, were every shelf always full?
-- chart: popularity_score by region, item_name
with popularity as (
    select *
    from {{ ref('rpt_item_popularity') }}
    where scope = 'region' and period = 'quarter'
),

items as (
    select *
    from {{ ref('dim_items') }}
),

newest as (
    select max(period_start) as period_start
    from popularity
),

answers as (
    select
        popularity.scope_id as region,
        popularity.period_start as quarter_start,
        popularity.popularity_rank,
        popularity.item_id,
        items.item_name,
        popularity.units,
        popularity.available_days,
        popularity.popularity_score,
        popularity.is_top_decile
    from popularity
    inner join newest on popularity.period_start = newest.period_start
    left join items on popularity.item_id = items.item_id
    where popularity.popularity_rank <= 10
)

select *
from answers
order by region, popularity_rank, item_id
