-- one row per trip, geofence, evidence and visit, and one without a geofence for a trip without any
-- visit, so that every build knows which trips it has looked at
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
            and trip_events.longitude between new_geofences.west and new_geofences.east
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
        trip_events.event_type,
        trip_events.geofence_id,
        trip_events.position_flag,
        trip_events.latitude,
        trip_events.longitude,
        trip_events.occurred_at
    from {{ ref('fct_trip_events') }} as trip_events
    where trip_events.trip_id in (select touched.trip_id from touched)
),

-- each geofence lies in up to four cells of a grid as coarse as it is large: those of its corners
corners as (
    select
        geofence_id,
        cell_degrees,
        south as latitude,
        west as longitude
    from geofences
    where shape != 'none'
    union all
    select
        geofence_id,
        cell_degrees,
        south as latitude,
        east as longitude
    from geofences
    where shape != 'none'
    union all
    select
        geofence_id,
        cell_degrees,
        north as latitude,
        west as longitude
    from geofences
    where shape != 'none'
    union all
    select
        geofence_id,
        cell_degrees,
        north as latitude,
        east as longitude
    from geofences
    where shape != 'none'
),

cells as (
    select distinct
        geofence_id,
        cell_degrees,
        floor(latitude / cell_degrees) as latitude_cell,
        floor(longitude / cell_degrees) as longitude_cell
    from corners
),

grids as (
    select distinct cell_degrees
    from cells
),

near as (
    select
        events.trip_id,
        events.event_id,
        events.latitude,
        events.longitude,
        events.occurred_at,
        cells.geofence_id
    from events
    cross join grids
    inner join cells
        on
            grids.cell_degrees = cells.cell_degrees
            and floor(events.latitude / grids.cell_degrees) = cells.latitude_cell
            and floor(events.longitude / grids.cell_degrees) = cells.longitude_cell
    where events.position_flag not in ('empty', 'out_of_range', 'at_zero')
),

boxed as (
    select
        near.trip_id,
        near.event_id,
        near.latitude,
        near.longitude,
        near.geofence_id,
        geofences.shape,
        geofences.radius_metres,
        {{ haversine_metres(
            'near.latitude',
            'near.longitude',
            'geofences.centre_latitude',
            'geofences.centre_longitude'
        ) }} as centre_metres
    from near
    inner join geofences on near.geofence_id = geofences.geofence_id
    where
        near.latitude between geofences.south and geofences.north
        and near.longitude between geofences.west and geofences.east
        -- what was before a geofence was deleted stays
        and (not geofences.is_deleted or near.occurred_at < geofences.updated_at)
),

-- M. Shimrat, Algorithm 112: position of point relative to polygon, CACM 5 (1962)
in_polygons as (
    select
        boxed.event_id,
        boxed.geofence_id
    from boxed
    inner join edges on boxed.geofence_id = edges.geofence_id
    where
        boxed.shape = 'polygon'
        and (edges.from_latitude > boxed.latitude) != (edges.to_latitude > boxed.latitude)
        and boxed.longitude
        < edges.from_longitude
        + (edges.to_longitude - edges.from_longitude)
        * (boxed.latitude - edges.from_latitude)
        / nullif(edges.to_latitude - edges.from_latitude, 0)
    group by boxed.event_id, boxed.geofence_id
    having mod(count(*), 2) = 1
),

inside as (
    select
        boxed.event_id,
        boxed.geofence_id,
        boxed.centre_metres
    from boxed
    left join in_polygons
        on
            boxed.event_id = in_polygons.event_id
            and boxed.geofence_id = in_polygons.geofence_id
    where
        boxed.shape = 'circle' and boxed.centre_metres <= boxed.radius_metres
        or in_polygons.event_id is not null
),

-- derived: runs of good positions inside
good as (
    select
        trip_id,
        event_id,
        occurred_at,
        row_number() over (partition by trip_id order by occurred_at, event_id) as position_number,
        lead(occurred_at) over (partition by trip_id order by occurred_at, event_id)
            as next_occurred_at
    from events
    where position_flag = 'good'
),

good_inside as (
    select
        good.trip_id,
        inside.geofence_id,
        good.event_id,
        good.position_number,
        good.occurred_at,
        good.next_occurred_at,
        lag(good.position_number) over (
            partition by good.trip_id, inside.geofence_id order by good.position_number
        ) as last_number,
        lag(good.occurred_at) over (
            partition by good.trip_id, inside.geofence_id order by good.position_number
        ) as last_occurred_at
    from good
    inner join inside on good.event_id = inside.event_id
),

-- where the van was in a gap nobody knows, so a gap ends a visit
runs as (
    select
        *,
        sum(
            case
                when
                    last_number = position_number - 1
                    and {{ dbt.datediff('last_occurred_at', 'occurred_at', 'millisecond') }}
                    <= 1000 * {{ var('trip_gap_seconds') }}
                    then 0
                else 1
            end
        ) over (
            partition by trip_id, geofence_id
            order by position_number
            rows between unbounded preceding and current row
        ) as visit_number
    from good_inside
),

trip_ends as (
    select
        trip_id,
        max(occurred_at) as stopped_at
    from events
    where event_type = 'user.stopped_trip' and position_flag != 'from_the_future'
    group by trip_id
),

derived as (
    select
        runs.trip_id,
        runs.geofence_id,
        'derived' as evidence,
        runs.visit_number,
        min(runs.occurred_at) as entered_at,
        max(runs.occurred_at) as last_inside_at,
        -- that of the last position inside
        case
            when count(runs.next_occurred_at) < count(*) then null
            else max(runs.next_occurred_at)
        end as next_occurred_at
    from runs
    group by runs.trip_id, runs.geofence_id, runs.visit_number
),

derived_visits as (
    select
        derived.trip_id,
        derived.geofence_id,
        derived.evidence,
        derived.visit_number,
        derived.entered_at,
        case
            when derived.next_occurred_at is null
                then
                    case
                        when trip_ends.stopped_at >= derived.last_inside_at
                            then trip_ends.stopped_at
                    end
            when
                {{ dbt.datediff(
                    'derived.last_inside_at', 'derived.next_occurred_at', 'millisecond'
                ) }} > 1000 * {{ var('trip_gap_seconds') }}
                then derived.last_inside_at
            else derived.next_occurred_at
        end as exited_at
    from derived
    left join trip_ends on derived.trip_id = trip_ends.trip_id
),

-- reported: an event that names no geofence is of the nearest one around it; a van that leaves one
-- is outside already, and leaves the one that it came into last
holding as (
    select
        event_id,
        geofence_id
    from inside
    qualify row_number() over (
        partition by event_id order by centre_metres, geofence_id
    ) = 1
),

reports as (
    select
        events.trip_id,
        events.event_id,
        events.event_type,
        events.occurred_at,
        coalesce(
            events.geofence_id,
            case
                when events.event_type != 'user.exited_geofence' then holding.geofence_id
            end
        ) as geofence_id
    from events
    left join holding on events.event_id = holding.event_id
    where
        events.event_type in (
            'user.entered_geofence', 'user.dwelled_in_geofence', 'user.exited_geofence'
        )
        and events.position_flag != 'from_the_future'
),

stretches as (
    select
        *,
        count(geofence_id) over (
            partition by trip_id
            order by occurred_at, event_id
            rows between unbounded preceding and current row
        ) as stretch
    from reports
),

named_reports as (
    select
        trip_id,
        event_id,
        event_type,
        occurred_at,
        max(geofence_id) over (partition by trip_id, stretch) as geofence_id
    from stretches
),

ordered_reports as (
    select
        *,
        lag(event_type) over (
            partition by trip_id, geofence_id order by occurred_at, event_id
        ) as last_event_type
    from named_reports
    where geofence_id is not null
),

numbered_reports as (
    select
        *,
        sum(
            case
                when last_event_type is null or last_event_type = 'user.exited_geofence' then 1
                else 0
            end
        ) over (
            partition by trip_id, geofence_id
            order by occurred_at, event_id
            rows between unbounded preceding and current row
        ) as visit_number
    from ordered_reports
),

reported_visits as (
    select
        trip_id,
        geofence_id,
        'reported' as evidence,
        visit_number,
        min(case when event_type = 'user.entered_geofence' then occurred_at end) as entered_at,
        max(case when event_type = 'user.exited_geofence' then occurred_at end) as exited_at
    from numbered_reports
    group by trip_id, geofence_id, visit_number
),

found as (
    select * from derived_visits
    union all
    select * from reported_visits
),

visits as (
    select
        touched.trip_id,
        found.geofence_id,
        geofences.location_id,
        found.evidence,
        cast(found.visit_number as bigint) as visit_number,
        found.entered_at,
        found.exited_at,
        greatest(
            touched.accepted_at, coalesce(geofences.accepted_at, touched.accepted_at)
        ) as accepted_at
    from touched
    left join found on touched.trip_id = found.trip_id
    left join geofences on found.geofence_id = geofences.geofence_id
)

select *
from visits
