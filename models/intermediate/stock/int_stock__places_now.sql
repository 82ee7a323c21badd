-- one row per location in service: its clock now, its next delivery and how long the stock must do
with location_days as (
    select *
    from {{ ref('int_clock__location_days') }}
),

locations as (
    select *
    from {{ ref('dim_locations') }}
),

dates as (
    select
        calendar_date,
        weekday
    from {{ ref('dim_dates') }}
),

places as (
    select
        location_days.location_id,
        coalesce(locations.location_name, location_days.location_id) as location_name,
        coalesce(locations.status, 'online') as status,
        locations.restock_weekdays,
        location_days.time_zone,
        location_days.opens_minute,
        location_days.closes_minute - location_days.opens_minute as open_minutes,
        location_days.local_date,
        location_days.as_of_date,
        location_days.as_of_at,
        {{ dbt.datediff(
            'cast(location_days.local_date as timestamp)',
            local_time('location_days.as_of_at', 'location_days.time_zone'),
            'minute'
        ) }} as minute_of_day,
        location_days.closes_minute,
        {{ utc_time(
            dbt.dateadd(
                'minute',
                'location_days.closes_minute',
                'cast(location_days.as_of_date + 1 as timestamp)'
            ),
            'location_days.time_zone'
        ) }} as next_closing_at
    from location_days
    left join locations on location_days.location_id = locations.location_id
    where coalesce(locations.is_in_service, true)
),

deliveries as (
    select
        places.location_id,
        min(dates.calendar_date) as delivery_date
    from places
    inner join dates
        on
            places.local_date <= dates.calendar_date
            and places.local_date + 7 >= dates.calendar_date
    where
        -- deliveries come before opening
        (
            dates.calendar_date > places.local_date
            or places.minute_of_day < places.opens_minute
        )
        -- a place that the catalogue does not know may have one every day
        and (
            places.restock_weekdays is null
            or {{ json_list_contains('places.restock_weekdays', 'dates.weekday') }}
        )
    group by places.location_id
),

place_hours as (
    select
        places.*,
        greatest(
            least(places.closes_minute - places.minute_of_day, places.open_minutes), 0
        ) as minutes_left_today,
        deliveries.delivery_date
    from places
    left join deliveries on places.location_id = deliveries.location_id
),

-- opening hours in which the stock must do; without deliveries, as long as anybody looks ahead
hours_to_cover as (
    select
        *,
        case
            when delivery_date = local_date then 0
            when delivery_date is not null
                then least(
                    minutes_left_today + open_minutes * (delivery_date - local_date - 1),
                    {{ var('selling_out_hours') }} * 60
                )
            else {{ var('selling_out_hours') }} * 60
        end as minutes_to_cover
    from place_hours
)

select *
from hours_to_cover
