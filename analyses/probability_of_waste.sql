-- How likely is it that something of what a place holds tonight ends as waste, and how much?
-- chart: waste_probability by location_name, item_name, horizon_days
with risks as (
    select *
    from {{ ref('ml_waste_probabilities') }}
),

items as (
    select *
    from {{ ref('dim_items') }}
),

locations as (
    select *
    from {{ ref('dim_locations') }}
),

newest as (
    select
        location_id,
        max(as_of_date) as as_of_date
    from risks
    group by location_id
),

answers as (
    select
        risks.location_id,
        locations.location_name,
        risks.item_id,
        items.item_name,
        risks.as_of_date,
        risks.horizon_days,
        risks.held_units,
        risks.waste_probability,
        risks.expected_wasted_units,
        risks.reasons
    from risks
    inner join newest
        on risks.location_id = newest.location_id and risks.as_of_date = newest.as_of_date
    left join items on risks.item_id = items.item_id
    left join locations on risks.location_id = locations.location_id
    where risks.held_units > 0
)

select *
from answers
order by
    waste_probability desc,
    expected_wasted_units desc,
    location_id asc,
    item_id asc,
    horizon_days asc
