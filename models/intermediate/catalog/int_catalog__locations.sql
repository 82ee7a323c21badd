-- one row per location: its newest version, with a time zone that exists
with records as (
    select *
    from {{ ref('stg_catalog__locations') }}
),

time_zones as (
    select time_zone
    from {{ ref('time_zones') }}
),

opening_hours as (
    select
        location_kind,
        opens_minute,
        closes_minute
    from {{ ref('opening_hours') }}
),

newest as (
    select *
    from records
    qualify row_number() over (
        partition by location_id
        order by updated_at desc, content_hash asc, accepted_at asc, segment asc
    ) = 1
),

-- Monday is mon
weekdays as (
    select
        location_id,
        replace(
            replace(
                replace(
                    replace(
                        replace(
                            replace(
                                replace(lower(restock_weekdays), 'monday', 'mon'),
                                'tuesday', 'tue'
                            ), 'wednesday', 'wed'
                        ), 'thursday', 'thu'
                    ), 'friday', 'fri'
                ), 'saturday', 'sat'
            ), 'sunday', 'sun'
        ) as restock_weekdays
    from newest
),

completed as (
    select
        newest.location_id,
        newest.route_id,
        newest.location_name,
        newest.kind,
        coalesce(newest.status, 'online') as status,
        newest.region,
        -- a name that no clock knows counts as absent
        coalesce(time_zones.time_zone, 'UTC') as time_zone,
        -- so does a list without any weekday, unless it is empty: nothing is delivered there
        case
            when
                weekdays.restock_weekdays = '[]'
                or weekdays.restock_weekdays like '%"mon"%'
                or weekdays.restock_weekdays like '%"tue"%'
                or weekdays.restock_weekdays like '%"wed"%'
                or weekdays.restock_weekdays like '%"thu"%'
                or weekdays.restock_weekdays like '%"fri"%'
                or weekdays.restock_weekdays like '%"sat"%'
                or weekdays.restock_weekdays like '%"sun"%'
                then weekdays.restock_weekdays
            else '["mon","tue","wed","thu","fri","sat","sun"]'
        end as restock_weekdays,
        newest.latitude,
        newest.longitude,
        newest.population,
        newest.capacity_units,
        coalesce(opening_hours.opens_minute, {{ var('default_opens_minute') }}) as opens_minute,
        coalesce(opening_hours.closes_minute, {{ var('default_closes_minute') }})
            as closes_minute,
        newest.is_deleted,
        not newest.is_deleted and coalesce(newest.status, 'online') != 'decommissioned'
            as is_in_service,
        newest.opened_on,
        newest.updated_at,
        newest.accepted_at
    from newest
    inner join weekdays on newest.location_id = weekdays.location_id
    left join time_zones on newest.time_zone = time_zones.time_zone
    left join opening_hours on newest.kind = opening_hours.location_kind
)

select *
from completed
