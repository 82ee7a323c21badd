-- one row per location of the catalogue: its time zone and opening hours; `accepted_at` moves only
-- when they change, by a new version or by a changed seed, and then all days of the location are
-- computed anew
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
),

segments as (
    select accepted_at
    from {{ ref('stg_raw__segments') }}
)

{%- if is_incremental() %},

known as (
    select *
    from {{ this }}
),

moments as (
    select accepted_at from known
    union all
    select accepted_at from segments
),

-- a seed brings no record: what changes counts as accepted after everything that is there
next_moment as (
    select {{ dbt.dateadd('microsecond', 1, 'max(accepted_at)') }} as accepted_at
    from moments
),

changed as (
    select
        locations.location_id,
        locations.time_zone,
        locations.opens_minute,
        locations.closes_minute,
        next_moment.accepted_at
    from locations
    cross join next_moment
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
