-- one row per geofence: its newest version, deleted ones too, so that old visits keep their names
with geofences as (
    select *
    from {{ ref('int_trips__geofences') }}
),

described as (
    select
        geofence_id,
        location_id,
        geofence_name,
        shape,
        centre,
        polygon,
        centre_latitude,
        centre_longitude,
        radius_metres,
        is_deleted,
        updated_at
    from geofences
)

select *
from described
