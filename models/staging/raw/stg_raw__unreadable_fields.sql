-- one row per accepted record with optional fields that could not be read: their names, no value
{% set landed = [
    ('accounts', 'consents'), ('accounts', 'customers'), ('catalog', 'calendar'),
    ('catalog', 'items'), ('catalog', 'locations'), ('catalog', 'promotions'),
    ('clinic', 'conditions'), ('clinic', 'observations'), ('clinic', 'patients'),
    ('content', 'contents'), ('feedback', 'ratings'), ('fridge', 'stock_events'),
    ('menu', 'menu_events'), ('orders', 'order_lines'), ('trends', 'food_trends'),
    ('trips', 'geofences'), ('trips', 'trip_events'),
] -%}
{% for name, entity in landed -%}
select
    source,
    entity,
    unreadable_fields,
    segment,
    received_at,
    accepted_at
from {{ source(name, entity) }}
where unreadable_fields is not null
{{ 'union all' if not loop.last }}
{% endfor %}
