{#-
    The records of the accepted segments that a condition on `raw.segments` chooses, joined with
    their segments: what follows `from`, as `records` and `segments`.

    DuckDB reads the segments themselves, and a filter on `segment` opens only the files it names.
    There a record without a line number has that of its row; uploaded ones all have their own.
    A segment of an earlier version may lack the newer of these columns, which are null then.
-#}
{% macro accepted_records(condition) -%}
    {{ return(adapter.dispatch('accepted_records')(condition)) }}
{%- endmacro %}

{% macro default__accepted_records(condition) -%}
    {%- set columns = dict.fromkeys([
        'payload', 'natural_key', 'content_hash', 'rejection_reason', 'rejection_detail',
        'unreadable_fields', 'source_file', 'commerce_token', 'health_token', 'driver_token',
        'visitor_token', 'account_token', 'trip_account_token',
    ], 'varchar') -%}
    {%- do columns.update({'line_number': 'bigint'}) -%}
    {%- do columns.update({'received_at': 'timestamp', 'loaded_at': 'timestamp'}) -%}
    {%- set paths = run_query(
        "select path from raw.segments where " ~ condition ~ " order by path"
    ).columns[0].values() -%}
    {%- if paths %}
    read_parquet(
        [{% for path in paths %}'{{ path | replace("'", "''") }}'{{ ", " if not loop.last }}{% endfor %}],
        schema = map {
        {%- for name, type in columns.items() %}
            '{{ name }}': {name: '{{ name }}', type: '{{ type }}', default_value: null}
            {{- ", " if not loop.last }}
        {%- endfor %}
        },
        filename = true, file_row_number = true, hive_partitioning = false
    ) as records
    {%- else %}
    (
        select
        {%- for name, type in columns.items() %}
            null::{{ type }} as {{ name }},
        {%- endfor %}
            null::varchar as filename, null::bigint as file_row_number
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
