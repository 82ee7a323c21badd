-- one row per accepted record of trips/geofences; what was delivered twice is here
-- twice: the next layer removes it, where only new records are looked at
with records as (
    select
        payload,
        unreadable_fields,
        content_hash,
        segment,
        received_at,
        accepted_at
    from {{ source('trips', 'geofences') }}
),

typed as (
    select
        {{ json_text('payload', 'geofence_id') }} as geofence_id,
        {{ json_text('payload', 'location_id') }} as location_id,
        {{ json_text('payload', 'geofence_name') }} as geofence_name,
        {{ json_text('payload', 'centre', is_checked=true) }} as centre,
        {{ json_text('payload', 'polygon', is_checked=true) }} as polygon,
        {{ json_text('payload', ['polygon.type', 'polygon.geometry.type']) }} as polygon_type,
        {{ json_text('payload', ['polygon.coordinates', 'polygon.geometry.coordinates']) }}
            as polygon_coordinates,
        {{ try_read(json_text('payload', 'centre[0]'), 'number') }} as centre_longitude,
        {{ try_read(json_text('payload', 'centre[1]'), 'number') }} as centre_latitude,
        {{ try_read(json_text('payload', 'radius_metres', is_checked=true), 'number') }}
            as radius_metres,
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
