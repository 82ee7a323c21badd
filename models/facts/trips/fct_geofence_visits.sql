-- one row per trip, geofence, evidence and visit: what the provider reported and what the positions
-- say are both here, apart from each other
{{ config(
    unique_key='trip_id',
    incremental_strategy='delete+insert',
    post_hook="delete from {{ this }} where geofence_id = ''"
) }}

with visits as (
    select
        trip_id,
        -- without one it only takes earlier visits of its trip away
        coalesce(geofence_id, '') as geofence_id,
        location_id,
        coalesce(evidence, '') as evidence,
        coalesce(visit_number, 0) as visit_number,
        cast(
            {{ dbt.datediff('entered_at', 'exited_at', 'millisecond') }} -- noqa: LT05
            / 1000.0 as double
        ) as dwell_seconds,
        entered_at,
        exited_at,
        accepted_at
    from {{ ref('int_trips__visits') }}
    {% if is_incremental() -%}
    where accepted_at > {{ last_accepted(this) }}
    {%- endif %}
)

select *
from visits
