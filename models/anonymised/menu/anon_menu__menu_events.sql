-- one row per menu event and content: of an event's conflicting copies the smallest content hash is
-- current; the losers stay, so that what they had touched is recomputed when they lose. The table
-- that somebody sits at stops here, as does a content hash of people
{{ config(
    materialized='incremental', unique_key='menu_event_key', incremental_strategy='delete+insert'
) }}

with new_records as (
    select *
    from {{ ref('stg_menu__menu_events') }}
    {% if is_incremental() -%}
    where {{ newly_accepted(this) }}
    {%- endif %}
),

-- What has no id has its content for a key. Where people are in it that is said with their tokens:
-- a hash that covers their ids would tell whoever guesses one that the guess is right.
keyed as (
    select
        *,
        md5(
            case
                when event_id is not null then 'id|' || event_id
                when visitor_token is null and customer_token is null
                    then 'content|' || content_hash
                else
                    'told|' || coalesce(visitor_token, '-') || '|' || coalesce(customer_token, '-')
                    || coalesce('|l' || length(location_id) || '|' || location_id, '')
                    || coalesce('|i' || length(item_id) || '|' || item_id, '')
                    || coalesce('|t' || length(table_id) || '|' || table_id, '')
                    || coalesce('|k' || kind, '')
                    || coalesce('|s' || length(section) || '|' || section, '')
                    || coalesce('|v' || length(menu_version) || '|' || menu_version, '')
                    || coalesce('|p' || cast(position as varchar), '')
                    || coalesce('|d' || cast(dwell_seconds as varchar), '')
                    || '|'
                    || cast(
                        {{ dbt.datediff(
                            "cast('2000-01-01' as timestamp)", 'occurred_at', 'microsecond'
                        ) }} as varchar
                    )
            end
        ) as menu_event_key
    from new_records
),

new_copies as (
    select
        menu_event_key,
        -- the clicks of one visitor at one location; nobody knows what other clicks belong to one
        -- without a visitor, so it is alone
        md5(
            case
                when visitor_token is null then 'e|' || menu_event_key
                else
                    'v' || cast(length(location_id) as varchar) || '|' || location_id
                    || '|' || visitor_token
            end
        ) as stream_key,
        location_id,
        item_id,
        visitor_token as visitor_key,
        customer_token as customer_key,
        -- the older shape names what was clicked and for how long it was looked at: a view
        coalesce(kind, case when is_older_click then 'item_viewed' end, 'unknown') as kind,
        section,
        menu_version,
        position,
        dwell_seconds,
        event_id is not null as has_event_id,
        occurred_at,
        content_hash,
        received_at,
        processed_at,
        accepted_at
    from keyed
    qualify row_number() over (
        partition by menu_event_key, content_hash order by accepted_at, segment
    ) = 1
),

{% if is_incremental() -%}
known_copies as (
    select
        menu_event_key,
        stream_key,
        location_id,
        item_id,
        visitor_key,
        customer_key,
        kind,
        section,
        menu_version,
        position,
        dwell_seconds,
        has_event_id,
        occurred_at,
        content_hash,
        received_at,
        processed_at,
        accepted_at
    from {{ this }}
    where menu_event_key in (select new_copies.menu_event_key from new_copies)
),

-- what was only delivered again changes nothing
unknown_copies as (
    select new_copies.*
    from new_copies
    left join known_copies
        on
            new_copies.menu_event_key = known_copies.menu_event_key
            and new_copies.content_hash = known_copies.content_hash
    where known_copies.menu_event_key is null
),

copies as (
    select * from unknown_copies
    union all
    select *
    from known_copies
    where menu_event_key in (select unknown_copies.menu_event_key from unknown_copies)
),
{%- else -%}
copies as (
    select * from new_copies
),
{%- endif %}

ranked as (
    select
        menu_event_key,
        stream_key,
        location_id,
        item_id,
        visitor_key,
        customer_key,
        kind,
        section,
        menu_version,
        position,
        dwell_seconds,
        has_event_id,
        content_hash = min(content_hash) over (partition by menu_event_key) as is_current,
        occurred_at,
        content_hash,
        received_at,
        processed_at,
        max(accepted_at) over (partition by menu_event_key) as accepted_at
    from copies
)

select *
from ranked
