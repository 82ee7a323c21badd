-- one row per geofence: its newest version, with the box around it and the size of the cells that
-- it is looked up by
with records as (
    select *
    from {{ ref('stg_trips__geofences') }}
),

newest as (
    select *
    from records
    qualify row_number() over (
        partition by geofence_id
        order by updated_at desc, content_hash asc, accepted_at asc, segment asc
    ) = 1
),

edges as (
    select
        geofence_id,
        min(from_latitude) as south,
        max(from_latitude) as north,
        min(from_longitude) as west,
        max(from_longitude) as east
    from {{ ref('int_trips__geofence_edges') }}
    group by geofence_id
),

-- a circle where there is one: senders may add a polygon that draws it
shaped as (
    select
        newest.geofence_id,
        newest.location_id,
        newest.geofence_name,
        case
            when
                newest.radius_metres is not null
                and abs(newest.centre_latitude) <= 90
                and abs(newest.centre_longitude) <= 180
                then 'circle'
            when edges.geofence_id is not null then 'polygon'
            else 'none'
        end as shape,
        newest.centre,
        newest.polygon,
        cast(newest.centre_latitude as double) as given_latitude,
        cast(newest.centre_longitude as double) as given_longitude,
        cast(newest.radius_metres as double) as radius_metres,
        -- degrees of latitude that the radius covers, on the sphere of haversine_metres
        degrees(cast(newest.radius_metres as double) / 6371008.8) as radius_degrees,
        edges.south,
        edges.north,
        edges.west,
        edges.east,
        newest.is_deleted,
        newest.updated_at,
        newest.accepted_at
    from newest
    left join edges on newest.geofence_id = edges.geofence_id
),

boxed as (
    select
        geofence_id,
        location_id,
        geofence_name,
        shape,
        centre,
        polygon,
        case when shape = 'circle' then given_latitude else (south + north) / 2 end
            as centre_latitude,
        case when shape = 'circle' then given_longitude else (west + east) / 2 end
            as centre_longitude,
        case when shape = 'circle' then radius_metres end as radius_metres,
        case when shape = 'circle' then given_latitude - radius_degrees else south end as south,
        case when shape = 'circle' then given_latitude + radius_degrees else north end as north,
        -- a circle of latitude is shorter than the equator; at a pole it is a point
        case
            when shape = 'circle'
                then
                    given_longitude
                    - radius_degrees / greatest(
                        cos(radians(least(abs(given_latitude) + radius_degrees, 89.9))), 0.001
                    )
            else west
        end as west,
        case
            when shape = 'circle'
                then
                    given_longitude
                    + radius_degrees / greatest(
                        cos(radians(least(abs(given_latitude) + radius_degrees, 89.9))), 0.001
                    )
            else east
        end as east,
        is_deleted,
        updated_at,
        accepted_at
    from shaped
),

-- the box is in no more than two cells of this size either way
sized as (
    select
        *,
        case
            when greatest(north - south, east - west) <= 0.01 then 0.01
            when greatest(north - south, east - west) <= 0.1 then 0.1
            when greatest(north - south, east - west) <= 1 then 1
            when greatest(north - south, east - west) <= 10 then 10
            else 1000
        end as cell_degrees
    from boxed
)

select *
from sized
