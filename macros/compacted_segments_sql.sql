{#-
    The statements that say when each compacted segment was accepted, and take the parts that a
    kill has left out of the segments found (DuckDB).

    They make the temporary tables `parts_found` (segment, part) and `compacted_found` (segment,
    accepted_at; null unless all parts had been accepted), read `raw.segments` as the last build
    left it, and delete from `segments_found` (found_segments_sql).
-#}
{% macro compacted_segments_sql(home) -%}
    {%- set has_compacted = run_query(
        "select count(*) from glob('" ~ home ~ "/raw/*/*/process_hour=*/compacted-*.parquet')"
    ).rows[0][0] > 0 %}
    create or replace temp table parts_found as
    {% if has_compacted -%}
    select
        regexp_extract(file_name, '([^/]+/[^/]+/process_hour=[^/]+/[^/]+)$', 1) as segment,
        unnest(from_json(decode(value), '["VARCHAR"]')) as part
    from parquet_kv_metadata('{{ home }}/raw/*/*/process_hour=*/compacted-*.parquet')
    where decode(key) = 'larder_parts';
    {%- else -%}
    select null::varchar as segment, null::varchar as part where false;
    {%- endif %}
    -- a compacted segment has been accepted when all of its parts had been
    create or replace temp table compacted_found as
    select
        parts_found.segment,
        case when count(*) = count(known.segment) then max(known.accepted_at) end as accepted_at
    from parts_found
    left join raw.segments as known on parts_found.part = known.segment
    group by parts_found.segment;
    delete from segments_found
    where segment in (select part from parts_found);
{%- endmacro %}
