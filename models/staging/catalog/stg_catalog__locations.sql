-- one row per accepted record of catalog/locations; what was delivered twice is here
-- twice: the next layer removes it, where only new records are looked at
with records as (
    select
        payload,
        unreadable_fields,
        content_hash,
        segment,
        received_at,
        accepted_at
    from {{ source('catalog', 'locations') }}
),

typed as (
    select
        {{ json_text('payload', 'location_id') }} as location_id,
        {{ json_text('payload', 'route_id') }} as route_id,
        {{ json_text('payload', 'location_name') }} as location_name,
        {{ json_text('payload', 'kind') }} as kind,
        {{ json_text('payload', 'status', is_checked=true) }} as status,
        {{ json_text('payload', 'region') }} as region,
        {{ json_text('payload', 'time_zone') }} as time_zone,
        {{ json_text('payload', 'restock_weekdays', is_checked=true) }} as restock_weekdays,
        {{ try_read(json_text('payload', 'latitude'), 'number') }} as latitude,
        {{ try_read(json_text('payload', 'longitude'), 'number') }} as longitude,
        {{ try_read(json_text('payload', 'population', is_checked=true), 'integer') }}
            as population,
        {{ try_read(json_text('payload', 'capacity_units', is_checked=true), 'integer') }}
            as capacity_units,
        coalesce({{ try_read(json_text('payload', 'is_deleted'), 'boolean') }}, false)
            as is_deleted,
        {{ try_read(json_text('payload', 'opened_on', is_checked=true), 'date') }} as opened_on,
        {{ try_read(json_text('payload', 'updated_at'), 'timestamp') }} as updated_at,
        content_hash,
        segment,
        received_at,
        accepted_at
    from records
)

select *
from typed
