-- one row per trip event and geofence around its position, and one without an event for each trip,
-- so that every build knows which trips have been looked at
{{ config(
    materialized='incremental', unique_key='trip_id', incremental_strategy='delete+insert'
) }}

-- a look at the geofences saves a look at all positions
{% set has_new_geofences = is_incremental()
    and last_accepted(ref('int_trips__geofences')) > last_accepted(this) -%}
with geofences as (
    select *
    from {{ ref('int_trips__geofences') }}
),

edges as (
    select *
    from {{ ref('int_trips__geofence_edges') }}
),

{% if has_new_geofences -%}
new_geofences as (
    select *
    from geofences
    where accepted_at > {{ last_accepted(this) }}
),

crossing_trips as (
    select known.trip_id
    from {{ this }} as known
    where known.geofence_id in (select new_geofences.geofence_id from new_geofences)
    union all
    select trip_events.trip_id
    from {{ ref('fct_trip_events') }} as trip_events
    inner join new_geofences
        on
            trip_events.latitude between new_geofences.south and new_geofences.north
            and (
                trip_events.longitude between new_geofences.west and new_geofences.east
                or trip_events.longitude + 360 between new_geofences.west and new_geofences.east
                or trip_events.longitude - 360 between new_geofences.west and new_geofences.east
            )
    where trip_events.trip_id is not null
),
{%- endif %}

touched as (
    select
        trip_id,
        -- what a geofence takes away leaves nothing that tells of it but this
        {% if has_new_geofences -%}
        greatest(max(accepted_at), {{ last_accepted(ref('int_trips__geofences')) }}) as accepted_at
        {%- else -%}
        max(accepted_at) as accepted_at
        {%- endif %}
    from {{ ref('anon_trips__trip_events') }}
    where
        trip_id is not null
        and (
            {{ 'accepted_at > ' ~ last_accepted(this) if is_incremental() else 'true' }}
            {% if has_new_geofences -%}
            or trip_id in (select crossing_trips.trip_id from crossing_trips)
            {%- endif %}
        )
    group by trip_id
),

events as (
    select
        trip_events.trip_id,
        trip_events.event_id,
        trip_events.latitude,
        trip_events.longitude,
        trip_events.occurred_at
    from {{ ref('fct_trip_events') }} as trip_events
    where
        trip_events.position_flag not in ('empty', 'out_of_range', 'at_zero')
        and trip_events.trip_id in (select touched.trip_id from touched)
),

sides as (
    select
        true as is_north,
        true as is_east
    union all
    select
        true as is_north,
        false as is_east
    union all
    select
        false as is_north,
        true as is_east
    union all
    select
        false as is_north,
        false as is_east
),

-- a circle that reaches beyond 180 degrees goes on at the other side
turns as (
    select 0 as degrees
    union all
    select 360 as degrees
    union all
    select -360 as degrees
),

boxes as (
    select
        geofences.geofence_id,
        geofences.shape,
        geofences.centre_latitude,
        geofences.centre_longitude,
        geofences.radius_metres,
        geofences.south,
        geofences.north,
        geofences.west + turns.degrees as west,
        geofences.east + turns.degrees as east,
        geofences.cell_degrees,
        geofences.is_deleted,
        geofences.updated_at,
        geofences.accepted_at
    from geofences
    cross join turns
    where
        geofences.shape != 'none'
        and geofences.west + turns.degrees <= 180
        and geofences.east + turns.degrees >= -180
),

-- Each geofence lies in up to four cells of a grid as coarse as it is large: those of its corners.
-- The cells carry the geofence, and the events below their own cell, so that there is one join and
-- it is of equals: given the choice, DuckDB compares every position with every box first.
cells as (
    select distinct
        boxes.geofence_id,
        boxes.shape,
        boxes.centre_latitude,
        boxes.centre_longitude,
        boxes.radius_metres,
        boxes.south,
        boxes.north,
        boxes.west,
        boxes.east,
        boxes.cell_degrees,
        floor(
            case when sides.is_north then boxes.north else boxes.south end
            / boxes.cell_degrees
        ) as latitude_cell,
        floor(
            case when sides.is_east then boxes.east else boxes.west end
            / boxes.cell_degrees
        ) as longitude_cell,
        boxes.is_deleted,
        boxes.updated_at,
        boxes.accepted_at
    from boxes
    cross join sides
),

grids as (
    select distinct cell_degrees
    from geofences
    where shape != 'none'
),

events_in_cells as (
    select
        events.trip_id,
        events.event_id,
        events.latitude,
        events.longitude,
        events.occurred_at,
        grids.cell_degrees,
        floor(events.latitude / grids.cell_degrees) as latitude_cell,
        floor(events.longitude / grids.cell_degrees) as longitude_cell
    from events
    cross join grids
),

boxed as (
    select
        events_in_cells.trip_id,
        events_in_cells.event_id,
        events_in_cells.latitude,
        events_in_cells.longitude,
        cells.geofence_id,
        cells.shape,
        cells.radius_metres,
        {{ haversine_metres(
            'events_in_cells.latitude',
            'events_in_cells.longitude',
            'cells.centre_latitude',
            'cells.centre_longitude'
        ) }} as centre_metres,
        cells.accepted_at
    from events_in_cells
    inner join cells
        on
            events_in_cells.cell_degrees = cells.cell_degrees
            and events_in_cells.latitude_cell = cells.latitude_cell
            and events_in_cells.longitude_cell = cells.longitude_cell
    where
        events_in_cells.latitude between cells.south and cells.north
        and events_in_cells.longitude between cells.west and cells.east
        -- what was before a geofence was deleted stays
        and (not cells.is_deleted or events_in_cells.occurred_at < cells.updated_at)
),

-- M. Shimrat, Algorithm 112: position of point relative to polygon, CACM 5 (1962)
crossed as (
    select
        boxed.trip_id,
        boxed.event_id,
        boxed.geofence_id,
        boxed.shape,
        boxed.centre_metres,
        boxed.accepted_at,
        count(edges.geofence_id) as crossings
    from boxed
    left join edges
        on
            boxed.geofence_id = edges.geofence_id
            and boxed.shape = 'polygon'
            and (boxed.latitude < edges.from_latitude) != (boxed.latitude < edges.to_latitude)
            and boxed.longitude
            < edges.from_longitude
            + (edges.to_longitude - edges.from_longitude)
            * (boxed.latitude - edges.from_latitude)
            / nullif(edges.to_latitude - edges.from_latitude, 0)
    where boxed.shape = 'polygon' or boxed.centre_metres <= boxed.radius_metres
    group by
        boxed.trip_id,
        boxed.event_id,
        boxed.geofence_id,
        boxed.shape,
        boxed.centre_metres,
        boxed.accepted_at
),

positions_inside as (
    select
        touched.trip_id,
        crossed.event_id,
        crossed.geofence_id,
        cast(crossed.centre_metres as double) as centre_metres,
        greatest(touched.accepted_at, crossed.accepted_at) as accepted_at
    from touched
    inner join crossed on touched.trip_id = crossed.trip_id
    where crossed.shape = 'circle' or mod(crossed.crossings, 2) = 1
    union all
    select
        trip_id,
        null as event_id,
        null as geofence_id,
        null as centre_metres,
        accepted_at
    from touched
)

select *
from positions_inside
