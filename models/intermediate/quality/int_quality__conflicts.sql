-- one row per entity with records that lost to another one of the same key (and, where records
-- change, of the same moment): the smallest content hash stays
with conflicts as (
    select
        source,
        entity,
        detail,
        records,
        newest_received_at
    from {{ ref('anon_quality__conflicts') }}
    union all
    {{ conflict_losers(
        'fridge/stock_events', ref('anon_commerce__stock_events'), ['event_id'], 'not is_current'
    ) }}
    union all
    {{ conflict_losers(
        'orders/order_lines',
        ref('anon_commerce__order_lines'),
        ['order_line_key', 'updated_at'],
        'not is_valid'
    ) }}
),

found as (
    select *
    from conflicts
    where records > 0
)

select *
from found
