-- one row per entity with records that lost to another one of the same key (and, where records
-- change, of the same moment): the smallest content hash stays
with stock_events as (
    select *
    from {{ ref('anon_commerce__stock_events') }}
),

order_lines as (
    select *
    from {{ ref('anon_commerce__order_lines') }}
),

items as (
    select distinct
        item_id,
        updated_at,
        content_hash,
        received_at
    from {{ ref('stg_catalog__items') }}
),

locations as (
    select distinct
        location_id,
        updated_at,
        content_hash,
        received_at
    from {{ ref('stg_catalog__locations') }}
),

item_losers as (
    select
        content_hash,
        received_at,
        min(content_hash) over (partition by item_id, updated_at) as winning_hash
    from items
),

location_losers as (
    select
        content_hash,
        received_at,
        min(content_hash) over (partition by location_id, updated_at) as winning_hash
    from locations
),

conflicts as (
    select
        'fridge' as source,
        'stock_events' as entity,
        'event_id: the same with other content' as detail,
        count(*) as records,
        max(received_at) as newest_received_at
    from stock_events
    where not is_current
    union all
    select
        'orders' as source,
        'order_lines' as entity,
        'order_id, line_number, updated_at: the same with other content' as detail,
        count(*) as records,
        max(received_at) as newest_received_at
    from order_lines
    where not is_valid
    union all
    select
        'catalog' as source,
        'items' as entity,
        'item_id, updated_at: the same with other content' as detail,
        count(*) as records,
        max(received_at) as newest_received_at
    from item_losers
    where content_hash != winning_hash
    union all
    select
        'catalog' as source,
        'locations' as entity,
        'location_id, updated_at: the same with other content' as detail,
        count(*) as records,
        max(received_at) as newest_received_at
    from location_losers
    where content_hash != winning_hash
),

found as (
    select *
    from conflicts
    where records > 0
)

select *
from found
