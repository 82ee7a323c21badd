{#-
    The records of the accepted segments that a condition on `raw.segments` chooses, joined with
    their segments: what follows `from`, as `records` and `segments`.

    DuckDB reads the segments themselves, and a filter on `segment` opens only the files it names.
    There a record without a line number has that of its row; uploaded ones all have their own.
-#}
{% macro accepted_records(condition) -%}
    {{ return(adapter.dispatch('accepted_records')(condition)) }}
{%- endmacro %}

{% macro default__accepted_records(condition) -%}
    {%- set paths = run_query(
        "select path from raw.segments where " ~ condition ~ " order by path"
    ).columns[0].values() -%}
    {%- if paths %}
    read_parquet(
        [{% for path in paths %}'{{ path | replace("'", "''") }}'{{ ", " if not loop.last }}{% endfor %}],
        filename = true, file_row_number = true, hive_partitioning = false
    ) as records
    {%- else %}
    (
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

{% macro snowflake__accepted_records(condition) -%}
    (select *, 0 as file_row_number from larder_raw.landing.records) as records
    inner join (select * from raw.segments where {{ condition }}) as segments
        on records.segment = segments.segment
{%- endmacro %}
