-- one row per location of the catalogue: its time zone and opening hours; `accepted_at` moves only
-- when they change, and then all days of the location are computed anew
{{ config(
    materialized='incremental', unique_key='location_id', incremental_strategy='delete+insert'
) }}

with locations as (
    select
        location_id,
        time_zone,
        opens_minute,
        closes_minute,
        accepted_at
    from {{ ref('int_catalog__locations') }}
)

{%- if is_incremental() %},

known as (
    select *
    from {{ this }}
),

changed as (
    select locations.*
    from locations
    left join known on locations.location_id = known.location_id
    where
        known.location_id is null
        or locations.time_zone != known.time_zone
        or locations.opens_minute != known.opens_minute
        or locations.closes_minute != known.closes_minute
)

select *
from changed
{%- else %}

select *
from locations
{%- endif %}
