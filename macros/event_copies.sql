{#-
    CTEs up to `copies`: one row per event and content. Of an event's conflicting copies the smallest
    content hash has copy_number 1; the losers stay, so that what they touched is recomputed when
    they lose. Nearly all events come once, so only those that do not are sorted and compared.

    staged: the staging model. columns: of it, event_id, content_hash and received_at among them,
    renamed by `as`. Of several deliveries of one copy the first to arrive stays, whichever was
    loaded first; of equals the known one, then by the moments in `ties`.
-#}
{% macro event_copies(staged, columns, ties) -%}
{%- set names = [] -%}
{%- for column in columns %}{% do names.append(column.split(' ') | last) %}{% endfor -%}
{%- set is_new = newly_accepted(this) if is_incremental() else 'true' -%}
{#- each step imports the events for itself, because DuckDB copies what is used twice -#}
contested as (
    select event_id as contested_id from (
        select event_id from {{ staged }} where {{ is_new }}
        {% if is_incremental() %}union all select event_id from {{ this }}
        where event_id in (select news.event_id from {{ staged }} as news where {{ is_new }}){% endif %}
    ) as deliveries group by event_id having count(*) > 1
),

contested_copies as (
    select {{ columns | join(',\n        ') }}, accepted_at, 1 as is_new from {{ staged }}
    where event_id in (select contested.contested_id from contested) and {{ is_new }}
    {% if is_incremental() %}union all
    select {{ names | join(',\n        ') }}, accepted_at, 0 as is_new from {{ this }}
    where event_id in (select contested.contested_id from contested){% endif %}
),

different_copies as (
    select * from contested_copies qualify row_number() over (partition by event_id, content_hash
        order by received_at, is_new, {{ ties | join(', ') }}) = 1
),

copies as (
    select {{ columns | join(',\n        ') }}, 1 as copy_number, accepted_at from {{ staged }}
    left join contested on event_id = contested_id where contested_id is null and {{ is_new }}
    union all
    select {{ names | join(',\n        ') }},
        cast(row_number() over (partition by event_id order by content_hash) as integer),
        max(accepted_at) over (partition by event_id) as accepted_at
    from different_copies qualify max(is_new) over (partition by event_id) = 1
)
{%- endmacro %}
