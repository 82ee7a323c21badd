-- one row per item, location (null: all) and stretch of time in which it is promoted there, by one
-- promotion or several; stretches of one item and location do not overlap
with promoted_items as (
    select
        item_id,
        location_id,
        starts_at,
        ends_at
    from {{ ref('int_catalog__promoted_items') }}
    where is_in_force and starts_at < ends_at
),

followed as (
    select
        item_id,
        location_id,
        starts_at,
        ends_at,
        case
            when starts_at <= max(ends_at) over (
                partition by item_id, location_id
                order by starts_at, ends_at
                rows between unbounded preceding and 1 preceding
            ) then 0
            else 1
        end as begins_stretch
    from promoted_items
),

numbered as (
    select
        item_id,
        location_id,
        starts_at,
        ends_at,
        sum(begins_stretch) over (
            partition by item_id, location_id
            order by starts_at, ends_at
            rows between unbounded preceding and current row
        ) as stretch_number
    from followed
),

stretches as (
    select
        item_id,
        location_id,
        stretch_number,
        min(starts_at) as starts_at,
        max(ends_at) as ends_at
    from numbered
    group by item_id, location_id, stretch_number
)

select *
from stretches
