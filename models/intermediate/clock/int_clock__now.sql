-- one row: the moment that every model takes for now, LARDER_AS_OF or else the newest event; facts
-- are told until the newest event even where the clock is set back
with stock_events as (
    select
        max(case when is_current then occurred_at end) as newest_at,
        max(accepted_at) as accepted_at
    from {{ ref('anon_commerce__stock_events') }}
),

order_lines as (
    select
        max(case when is_valid then updated_at end) as newest_at,
        max(accepted_at) as accepted_at
    from {{ ref('anon_commerce__order_lines') }}
),

menu_events as (
    select
        max(case when is_current then occurred_at end) as newest_at,
        max(accepted_at) as accepted_at
    from {{ ref('anon_menu__menu_events') }}
),

events as (
    select
        newest_at,
        accepted_at
    from stock_events
    union all
    select
        newest_at,
        accepted_at
    from order_lines
    union all
    select
        newest_at,
        accepted_at
    from menu_events
),

newest as (
    select
        {{ try_read("nullif('" ~ env_var('LARDER_AS_OF', '') ~ "', '')", 'timestamp') }} as set_at,
        max(newest_at) as newest_at,
        -- before the first record nothing has been accepted and nothing has happened
        coalesce(max(accepted_at), cast('1900-01-01' as timestamp)) as accepted_at
    from events
),

now_is as (
    select
        coalesce(set_at, newest_at, cast('{{ var("first_date") }}' as timestamp)) as as_of_at,
        greatest(
            coalesce(set_at, newest_at, cast('{{ var("first_date") }}' as timestamp)),
            coalesce(newest_at, set_at, cast('{{ var("first_date") }}' as timestamp))
        ) as told_until_at,
        accepted_at
    from newest
)

select *
from now_is
