-- one row per accepted record with optional fields that could not be read: their names, no value
select
    source,
    entity,
    unreadable_fields,
    segment,
    received_at,
    accepted_at
from {{ source('raw', 'unreadable_records') }}
