-- one row per record or file that could not be taken, without the record, which may hold anything
select
    source,
    entity,
    rejection_reason,
    rejection_detail,
    segment,
    received_at,
    accepted_at
from {{ source('raw', 'rejected_records') }}
