-- one row per location: its newest version, deleted ones too, so that old facts keep their names
with locations as (
    select *
    from {{ ref('int_catalog__locations') }}
),

described as (
    select
        location_id,
        route_id,
        location_name,
        kind,
        status,
        region,
        time_zone,
        restock_weekdays,
        cast(latitude as double) as latitude,
        cast(longitude as double) as longitude,
        cast(population as bigint) as population,
        cast(capacity_units as integer) as capacity_units,
        is_deleted,
        is_in_service,
        opened_on,
        updated_at
    from locations
)

select *
from described
