-- one row per trip, geofence, evidence and visit, and one without a geofence for a trip without any
-- visit, so that every build knows which trips it has looked at
{{ config(
    materialized='incremental', unique_key='trip_id', incremental_strategy='delete+insert'
) }}

with geofences as (
    select *
    from {{ ref('int_trips__geofences') }}
),

touches as (
    select
        trip_id,
        accepted_at
    from {{ ref('int_trips__positions_inside') }}
    where
        event_id is null
        and {{ 'accepted_at > ' ~ last_accepted(this) if is_incremental() else 'true' }}
    {% if is_incremental()
        and last_accepted(ref('int_trips__geofences')) > last_accepted(this) -%}
    union all
    -- of a geofence that the provider names no position need be inside
    select
        known_visits.trip_id,
        geofences.accepted_at
    from {{ this }} as known_visits
    inner join geofences on known_visits.geofence_id = geofences.geofence_id
    where geofences.accepted_at > {{ last_accepted(this) }}
    {%- endif %}
),

touched as (
    select
        trip_id,
        max(accepted_at) as accepted_at
    from touches
    group by trip_id
),

inside as (
    select
        trip_id,
        event_id,
        geofence_id,
        centre_metres
    from {{ ref('int_trips__positions_inside') }}
    where
        event_id is not null
        and trip_id in (select touched.trip_id from touched)
),

events as (
    select
        trip_events.trip_id,
        trip_events.event_id,
        trip_events.event_type,
        trip_events.geofence_id,
        trip_events.occurred_at
    from {{ ref('fct_trip_events') }} as trip_events
    where
        trip_events.event_type in (
            'user.entered_geofence',
            'user.dwelled_in_geofence',
            'user.exited_geofence',
            'user.stopped_trip'
        )
        and trip_events.position_flag != 'from_the_future'
        and trip_events.trip_id in (select touched.trip_id from touched)
),

-- derived: runs of good positions inside
good as (
    select
        event_id,
        occurred_at,
        position_number,
        seconds,
        next_occurred_at
    from {{ ref('int_trips__tracks') }}
    where
        position_flag = 'good'
        and trip_id in (select touched.trip_id from touched)
),

good_inside as (
    select
        inside.trip_id,
        inside.geofence_id,
        good.position_number,
        good.seconds,
        good.occurred_at,
        good.next_occurred_at,
        lag(good.position_number) over (
            partition by inside.trip_id, inside.geofence_id order by good.position_number
        ) as last_number
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
                    and seconds <= {{ var('trip_gap_seconds') }}
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
    where event_type = 'user.stopped_trip'
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
    where events.event_type != 'user.stopped_trip'
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
