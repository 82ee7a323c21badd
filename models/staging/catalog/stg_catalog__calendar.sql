-- one row per accepted record of catalog/calendar; what was delivered twice is here
-- twice: the next layer removes it, where only new records are looked at
with records as (
    select
        payload,
        unreadable_fields,
        content_hash,
        segment,
        received_at,
        accepted_at
    from {{ source('catalog', 'calendar') }}
),

typed as (
    select
        {{ json_text('payload', 'region') }} as region,
        {{ try_read(json_text('payload', 'date'), 'date') }} as calendar_date,
        {{ try_read(json_text('payload', 'rain_millimetres', is_checked=true), 'number') }}
            as rain_millimetres,
        {{ try_read(json_text('payload', 'temperature_celsius', is_checked=true), 'number') }}
            as temperature_celsius,
        {{ try_read(json_text('payload', 'is_holiday'), 'boolean') }} as is_holiday,
        {{ try_read(json_text('payload', 'is_school_holiday'), 'boolean') }} as is_school_holiday,
        coalesce({{ try_read(json_text('payload', 'is_deleted'), 'boolean') }}, false)
            as is_deleted,
        {{ try_read(json_text('payload', 'updated_at'), 'timestamp') }} as updated_at,
        content_hash,
        segment,
        received_at,
        accepted_at
    from records
)

select *
from typed
