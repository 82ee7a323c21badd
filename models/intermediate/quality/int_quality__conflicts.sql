-- one row per entity with records that lost to another one of the same key (and, where records
-- change, of the same moment): the smallest content hash stays. Which events of stock, trips and
-- menus and which order lines lost is known from their own models
with conflicts as (
    select
        source,
        entity,
        detail,
        records,
        newest_received_at
    from {{ ref('anon_quality__conflicts') }}
    union all
    select
        'fridge' as source,
        'stock_events' as entity,
        'another record of this key stays' as detail,
        count(*) as records,
        max(received_at) as newest_received_at
    from {{ ref('anon_commerce__stock_events') }}
    where not is_current
    union all
    select
        'orders' as source,
        'order_lines' as entity,
        'another record of this key and updated_at stays' as detail,
        count(*) as records,
        max(received_at) as newest_received_at
    from {{ ref('anon_commerce__order_lines') }}
    where not is_valid
    union all
    select
        'trips' as source,
        'trip_events' as entity,
        'another record of this key stays' as detail,
        count(*) as records,
        max(received_at) as newest_received_at
    from {{ ref('anon_trips__trip_events') }}
    where not is_current and has_own_id
    union all
    select
        'menu' as source,
        'menu_events' as entity,
        'another record of this key stays' as detail,
        count(*) as records,
        max(received_at) as newest_received_at
    from {{ ref('anon_menu__menu_events') }}
    -- what has no id is of one key only where it says the same
    where not is_current and has_event_id
),

found as (
    select *
    from conflicts
    where records > 0
)

select *
from found
