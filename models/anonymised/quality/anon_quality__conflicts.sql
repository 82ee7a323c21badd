-- one row per entity whose versions are read whole at every build, with the number of records that
-- lost to another one; counted in this layer, because a content hash of people goes no further
with conflicts as (
    {{ conflict_losers(
        'accounts/consents',
        ref('stg_accounts__consents'),
        ['customer_token', 'purpose', 'updated_at']
    ) }}
    union all
    {{ conflict_losers(
        'accounts/customers',
        ref('stg_accounts__customers'),
        ['customer_token', 'updated_at']
    ) }}
    union all
    {{ conflict_losers(
        'catalog/calendar',
        ref('stg_catalog__calendar'),
        ['region', 'calendar_date', 'updated_at']
    ) }}
    union all
    {{ conflict_losers(
        'catalog/items',
        ref('stg_catalog__items'),
        ['item_id', 'updated_at']
    ) }}
    union all
    {{ conflict_losers(
        'catalog/locations',
        ref('stg_catalog__locations'),
        ['location_id', 'updated_at']
    ) }}
    union all
    {{ conflict_losers(
        'catalog/promotions',
        ref('stg_catalog__promotions'),
        ['promotion_id', 'updated_at']
    ) }}
    union all
    {{ conflict_losers(
        'content/contents',
        ref('stg_content__contents'),
        ['content_id', 'updated_at']
    ) }}
    union all
    {{ conflict_losers(
        'feedback/ratings',
        ref('stg_feedback__ratings'),
        ['rating_id', 'updated_at']
    ) }}
    union all
    {{ conflict_losers(
        'trends/food_trends',
        ref('stg_trends__food_trends'),
        ['region', 'topic', 'item_tag', 'week_start', 'updated_at']
    ) }}
    union all
    {{ conflict_losers(
        'trips/geofences',
        ref('stg_trips__geofences'),
        ['geofence_id', 'updated_at']
    ) }}
)

select *
from conflicts
