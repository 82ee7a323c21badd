-- one row: the moment that every model takes for now, LARDER_AS_OF or else the newest event
with stock_events as (
    select max(occurred_at) as newest_at
    from {{ ref('anon_commerce__stock_events') }}
),

order_lines as (
    select max(updated_at) as newest_at
    from {{ ref('anon_commerce__order_lines') }}
),

events as (
    select newest_at from stock_events
    union all
    select newest_at from order_lines
),

now_is as (
    select
        coalesce(
            {{ try_read("nullif('" ~ env_var('LARDER_AS_OF', '') ~ "', '')", 'timestamp') }},
            max(newest_at),
            -- nothing has happened yet
            cast('{{ var("first_date") }}' as timestamp)
        ) as as_of_at
    from events
)

select *
from now_is
