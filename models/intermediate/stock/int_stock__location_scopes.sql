-- one row per location and thing that reports add it up to: itself, its route, its region, the
-- whole network. What it has left stays, no longer current, so that both sides are added up anew
{{ config(
    materialized='incremental',
    unique_key=['location_id', 'scope', 'scope_id'],
    incremental_strategy='delete+insert'
) }}

with location_days as (
    select location_id
    from {{ ref('int_clock__location_days') }}
),

catalogued as (
    select *
    from {{ ref('int_catalog__locations') }}
),

locations as (
    select
        location_days.location_id,
        catalogued.route_id,
        catalogued.region,
        coalesce(catalogued.accepted_at, cast('1900-01-01' as timestamp)) as accepted_at
    from location_days
    left join catalogued on location_days.location_id = catalogued.location_id
),

current_scopes as (
    select
        location_id,
        'location' as scope,
        location_id as scope_id,
        accepted_at
    from locations
    union all
    select
        location_id,
        'route' as scope,
        route_id as scope_id,
        accepted_at
    from locations
    where route_id is not null
    union all
    select
        location_id,
        'region' as scope,
        region as scope_id,
        accepted_at
    from locations
    where region is not null
    union all
    select
        location_id,
        'network' as scope,
        'network' as scope_id,
        accepted_at
    from locations
),

{% if is_incremental() -%}
known_scopes as (
    select *
    from {{ this }}
),

changed as (
    select
        current_scopes.location_id,
        current_scopes.scope,
        current_scopes.scope_id,
        true as is_current,
        current_scopes.accepted_at
    from current_scopes
    left join known_scopes
        on
            current_scopes.location_id = known_scopes.location_id
            and current_scopes.scope = known_scopes.scope
            and current_scopes.scope_id = known_scopes.scope_id
    where known_scopes.location_id is null or not known_scopes.is_current
    union all
    select
        known_scopes.location_id,
        known_scopes.scope,
        known_scopes.scope_id,
        false as is_current,
        greatest(
            known_scopes.accepted_at, coalesce(locations.accepted_at, known_scopes.accepted_at)
        ) as accepted_at
    from known_scopes
    left join locations on known_scopes.location_id = locations.location_id
    left join current_scopes
        on
            known_scopes.location_id = current_scopes.location_id
            and known_scopes.scope = current_scopes.scope
            and known_scopes.scope_id = current_scopes.scope_id
    where current_scopes.location_id is null and known_scopes.is_current
),
{%- else -%}
changed as (
    select
        location_id,
        scope,
        scope_id,
        true as is_current,
        accepted_at
    from current_scopes
),
{%- endif %}

location_scopes as (
    select
        location_id,
        scope,
        scope_id,
        is_current,
        accepted_at
    from changed
)

select *
from location_scopes
