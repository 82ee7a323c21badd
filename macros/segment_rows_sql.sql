{#-
    The records of the accepted segments that a condition on `raw.segments` chooses (DuckDB), as
    `records` and `segments`; a condition on the records can follow. A filter on `segment` opens
    only the files it names.
-#}
{% macro segment_rows_sql(condition) -%}
    {%- set paths = run_query(
        "select path from raw.segments where " ~ condition ~ " order by path"
    ).columns[0].values() -%}
    select
        records.payload,
        records.natural_key,
        records.content_hash,
        records.rejection_reason,
        records.rejection_detail,
        records.unreadable_fields,
        records.source_file,
        coalesce(records.line_number, records.file_row_number + 1) as line_number,
        records.received_at,
        records.loaded_at,
        records.commerce_token,
        records.health_token,
        records.driver_token,
        records.visitor_token,
        segments.segment,
        segments.source,
        segments.entity,
        segments.accepted_at
    {%- if paths %}
    from read_parquet(
        [{% for path in paths %}'{{ path | replace("'", "''") }}'{{ ", " if not loop.last }}{% endfor %}],
        filename = true, file_row_number = true, hive_partitioning = false
    ) as records
    {%- else %}
    from (
        select
            null::varchar as payload, null::varchar as natural_key, null::varchar as content_hash,
            null::varchar as rejection_reason, null::varchar as rejection_detail,
            null::varchar as unreadable_fields, null::varchar as source_file,
            null::bigint as line_number, null::timestamp as received_at,
            null::timestamp as loaded_at, null::varchar as commerce_token,
            null::varchar as health_token, null::varchar as driver_token,
            null::varchar as visitor_token, null::varchar as filename,
            null::bigint as file_row_number
        limit 0
    ) as records
    {%- endif %}
    inner join raw.segments as segments on records.filename = segments.path
{%- endmacro %}
