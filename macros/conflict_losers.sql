{#-
    How many copies of an entity's versions lost to another one of the same key and `updated_at`:
    the smallest content hash stays. One row.

    path: `<source>/<entity>`. copies: a relation with content_hash and received_at. key: columns of
    it that tell versions apart, `updated_at` among them.
-#}
{% macro conflict_losers(path, copies, key) -%}
    select
        '{{ path.split("/")[0] }}' as source,
        '{{ path.split("/")[1] }}' as entity,
        'another record of this key and updated_at stays' as detail,
        count(*) as records,
        max(received_at) as newest_received_at
    from (
        select min(received_at) as received_at
        from {{ copies }}
        group by {{ key | join(', ') }}, content_hash
        qualify content_hash != min(content_hash) over (partition by {{ key | join(', ') }})
    ) as losers
{%- endmacro %}
