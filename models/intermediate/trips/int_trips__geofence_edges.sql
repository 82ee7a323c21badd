-- one row per edge of a geofence's polygon, holes and several parts included: a point is inside
-- where a ray from it crosses an odd number of them
with records as (
    select *
    from {{ ref('stg_trips__geofences') }}
),

newest as (
    select
        geofence_id,
        polygon_type,
        polygon_coordinates
    from records
    qualify row_number() over (
        partition by geofence_id
        order by updated_at desc, content_hash asc, accepted_at asc, segment asc
    ) = 1
),

-- of a polygon the rings, of several polygons the rings of each
several as (
    select
        geofence_id,
        case
            when polygon_type = 'MultiPolygon' then polygon_coordinates
            else '[' || polygon_coordinates || ']'
        end as parts
    from newest
    where polygon_type in ('Polygon', 'MultiPolygon')
),

parts as (
    {{ json_elements('several', ['geofence_id'], 'parts') }}
),

numbered_parts as (
    select
        geofence_id,
        element_number as part_number,
        element as rings
    from parts
),

rings as (
    {{ json_elements('numbered_parts', ['geofence_id', 'part_number'], 'rings') }}
),

numbered_rings as (
    select
        geofence_id,
        part_number,
        element_number as ring_number,
        element as points
    from rings
),

points as (
    {{ json_elements('numbered_rings', ['geofence_id', 'part_number', 'ring_number'], 'points') }}
),

-- a path begins with a name, which a list has none of
named_points as (
    select
        geofence_id,
        part_number,
        ring_number,
        element_number as corner_number,
        '{"at":' || element || '}' as point
    from points
),

corners as (
    select
        geofence_id,
        part_number,
        ring_number,
        corner_number,
        cast({{ try_read(json_text('point', 'at[0]'), 'number') }} as double) as longitude,
        cast({{ try_read(json_text('point', 'at[1]'), 'number') }} as double) as latitude
    from named_points
),

-- a ring may or may not repeat its first corner at its end
edges as (
    select
        geofence_id,
        part_number,
        ring_number,
        corner_number,
        latitude as from_latitude,
        longitude as from_longitude,
        coalesce(
            lead(latitude) over (
                partition by geofence_id, part_number, ring_number order by corner_number
            ),
            first_value(latitude) over (
                partition by geofence_id, part_number, ring_number order by corner_number
            )
        ) as to_latitude,
        coalesce(
            lead(longitude) over (
                partition by geofence_id, part_number, ring_number order by corner_number
            ),
            first_value(longitude) over (
                partition by geofence_id, part_number, ring_number order by corner_number
            )
        ) as to_longitude
    from corners
    where latitude is not null and longitude is not null
)

select *
from edges
