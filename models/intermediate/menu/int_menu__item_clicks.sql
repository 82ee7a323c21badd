-- one row per click that the report on items counts, and per view with a dwell once more for it;
-- neither bots nor double sends. A click without a place has that of the session's first
-- click on the item. Streams with new clicks are computed anew; one that has nothing left has a row
-- without a date, which is taken out
{{ config(
    materialized='incremental',
    unique_key='stream_key',
    incremental_strategy='delete+insert',
    post_hook="delete from {{ this }} where event_date is null"
) }}

{% if is_incremental() -%}
with touched as (
    select distinct stream_key
    from {{ ref('int_menu__sessionised_events') }}
    where accepted_at > {{ last_accepted(this) }}
),

events as (
    select *
    from {{ ref('int_menu__sessionised_events') }}
    where
        is_current and not is_bot and not is_double_send
        and stream_key in (select touched.stream_key from touched)
),
{%- else -%}
with events as (
    select *
    from {{ ref('int_menu__sessionised_events') }}
    where is_current and not is_bot and not is_double_send
),
{%- endif %}

first_places as (
    select
        session_key,
        item_id,
        section,
        position
    from events
    where item_id is not null and (section is not null or position is not null)
    qualify row_number() over (
        partition by session_key, item_id order by occurred_at, menu_event_key
    ) = 1
),

-- An order takes all that was added before it, or the one item that it names. Order lines of the
-- till (channel qr_menu) name neither session nor visitor, so they can tell of no click.
orders as (
    select
        session_key,
        item_id,
        max(occurred_at) as ordered_at
    from events
    where kind = 'order_placed'
    group by session_key, item_id
),

placed as (
    select
        events.menu_event_key,
        events.stream_key,
        events.location_id,
        events.visitor_key,
        case when events.kind = 'section_viewed' then 'section' else 'item' end as scope,
        case
            when events.section is null and events.position is null then first_places.section
            else events.section
        end as section,
        case when events.kind != 'section_viewed' then events.item_id end as item_id,
        case
            when events.kind = 'section_viewed' then null
            when events.section is null and events.position is null then first_places.position
            else events.position
        end as position,
        events.kind,
        coalesce(events.occurred_at <= orders.ordered_at, false)
        or coalesce(events.occurred_at <= named_orders.ordered_at, false) as is_ordered,
        events.dwell_seconds,
        events.event_date,
        events.accepted_at
    from events
    left join first_places
        on
            events.session_key = first_places.session_key
            and events.item_id = first_places.item_id
            and events.kind != 'section_viewed'
    left join orders
        on events.session_key = orders.session_key and orders.item_id is null
    left join orders as named_orders
        on
            events.session_key = named_orders.session_key
            and events.item_id = named_orders.item_id
    where
        (
            events.kind in ('item_viewed', 'item_skipped', 'item_added')
            and events.item_id is not null
        )
        or (events.kind = 'section_viewed' and events.section is not null)
),

measured as (
    select
        menu_event_key,
        stream_key,
        location_id,
        visitor_key,
        scope,
        section,
        item_id,
        position,
        case
            when kind in ('item_viewed', 'section_viewed') then 'views'
            when kind = 'item_skipped' then 'skips'
            else 'adds'
        end as measure,
        case
            when kind != 'item_added' then 'all'
            when is_ordered then 'ordered'
            else 'left'
        end as part,
        cast(null as numeric(18, 3)) as dwell_seconds,
        event_date,
        accepted_at
    from placed
    union all
    select
        menu_event_key,
        stream_key,
        location_id,
        visitor_key,
        scope,
        section,
        item_id,
        position,
        'dwells' as measure,
        'all' as part,
        dwell_seconds,
        event_date,
        accepted_at
    from placed
    where kind in ('item_viewed', 'section_viewed') and dwell_seconds is not null
),

keyed as (
    select
        menu_event_key,
        -- each value is led by its length, so that no two different cells can read the same
        md5(
            'item|' || length(location_id) || ':' || location_id
            || coalesce('|s' || length(section) || ':' || section, '')
            || coalesce('|i' || length(item_id) || ':' || item_id, '')
            || coalesce('|p' || position, '')
        ) as cell_key,
        stream_key,
        location_id,
        visitor_key,
        scope,
        section,
        item_id,
        position,
        measure,
        part,
        dwell_seconds,
        event_date,
        accepted_at
    from measured
)

select *
from keyed
{%- if is_incremental() %}
union all
select
    cast(null as varchar) as menu_event_key,
    cast(null as varchar) as cell_key,
    touched.stream_key,
    cast(null as varchar) as location_id,
    cast(null as varchar) as visitor_key,
    cast(null as varchar) as scope,
    cast(null as varchar) as section,
    cast(null as varchar) as item_id,
    cast(null as bigint) as position,
    cast(null as varchar) as measure,
    cast(null as varchar) as part,
    cast(null as numeric(18, 3)) as dwell_seconds,
    cast(null as date) as event_date,
    cast(null as timestamp) as accepted_at
from touched
left join keyed on touched.stream_key = keyed.stream_key
where keyed.stream_key is null
{%- endif %}
