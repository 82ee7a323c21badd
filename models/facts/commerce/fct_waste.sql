-- one row per discarded event; one that lost a conflict to something else than waste is taken out
{{ config(
    unique_key='waste_key',
    incremental_strategy='delete+insert',
    post_hook="delete from {{ this }} where quantity = 0"
) }}

-- a look at the versions saves a look at all movements
{% set has_new_versions = is_incremental()
    and last_accepted(ref('int_catalog__item_versions')) > last_accepted(this) -%}
-- each step imports the movements for itself: DuckDB copies what is used twice
with item_versions as (
    select *
    from {{ ref('int_catalog__item_versions') }}
),

new_waste as (
    select *
    from {{ ref('int_stock__movements') }}
    where
        kind = 'discarded'
        and {{ 'accepted_at > ' ~ last_accepted(this) if is_incremental() else 'true' }}
),

{% if has_new_versions -%}
revalued_waste as (
    select movements.*
    from {{ ref('int_stock__movements') }} as movements
    inner join item_versions
        on
            movements.item_id = item_versions.item_id
            and movements.occurred_at >= item_versions.valid_from
            and movements.occurred_at < item_versions.valid_to
    where
        movements.kind = 'discarded'
        and movements.accepted_at <= {{ last_accepted(this) }}
        and item_versions.accepted_at > {{ last_accepted(this) }}
),

touched as (
    select * from new_waste
    union all
    select * from revalued_waste
),
{%- else -%}
touched as (
    select * from new_waste
),
{%- endif %}

-- a copy that lost stands for its event only where the winner is not waste
still_waste as (
    select event_id
    from {{ ref('int_stock__movements') }}
    where
        is_current
        and kind = 'discarded'
        and event_id in (
            select touched.event_id
            from touched
            where not touched.is_current
        )
),

discarded as (
    select *
    from touched
    where is_current or event_id not in (select still_waste.event_id from still_waste)
    qualify row_number() over (
        partition by event_id order by copy_number
    ) = 1
),

waste as (
    select
        discarded.event_id as waste_key,
        discarded.location_id,
        discarded.item_id,
        coalesce(discarded.reason, 'unknown') as reason,
        cast(case when discarded.is_current then discarded.quantity else 0 end as numeric(18, 3))
            as quantity,
        cast(
            discarded.quantity * (item_versions.unit_cost_usd + item_versions.disposal_cost_usd)
            as numeric(18, 4)
        ) as waste_cost_usd,
        discarded.stock_date as waste_date,
        discarded.occurred_at as discarded_at,
        greatest(
            discarded.accepted_at, coalesce(item_versions.accepted_at, discarded.accepted_at)
        ) as accepted_at
    from discarded
    left join item_versions
        on
            discarded.item_id = item_versions.item_id
            and discarded.occurred_at >= item_versions.valid_from
            and discarded.occurred_at < item_versions.valid_to
)

select *
from waste
