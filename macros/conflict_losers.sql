{#-
    How many copies of an entity's records lost to another one of the same key and, where records
    have versions, of the same `updated_at`: the smallest content hash stays. One row.

    path: `<source>/<entity>`. copies: a relation with content_hash and received_at. key: columns of
    it that tell records (versions) apart. is_lost: where the relation knows already who lost, the
    condition that says so; then nothing is compared.
-#}
{% macro conflict_losers(path, copies, key, is_lost=none) -%}
    {%- set version = ' and updated_at' if 'updated_at' in key else '' %}
    select
        '{{ path.split("/")[0] }}' as source,
        '{{ path.split("/")[1] }}' as entity,
        'another record of this key{{ version }} stays' as detail,
        count(*) as records,
        max(received_at) as newest_received_at
    from (
        {%- if is_lost %}
        select received_at
        from {{ copies }}
        where {{ is_lost }}
        {%- else %}
        select min(received_at) as received_at
        from {{ copies }}
        group by {{ key | join(', ') }}, content_hash
        qualify content_hash != min(content_hash) over (partition by {{ key | join(', ') }})
        {%- endif %}
    ) as losers
{%- endmacro %}
