-- one row per accepted segment of raw records
select
    segment,
    source,
    entity,
    accepted_at
from {{ source('raw', 'segments') }}
