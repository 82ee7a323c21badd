{#-
    The condition on a staging model that names the accepted segments which a condition chooses
    (DuckDB), so that no other file is opened.
-#}
{% macro named_segments(condition) -%}
    {%- if not execute -%}
        true
    {%- else -%}
        {%- set segments = run_query(
            "select segment from raw.segments where " ~ condition ~ " order by segment"
        ).columns[0].values() -%}
        {%- if segments -%}
            segment in ('{{ segments | join("', '") }}')
        {%- else -%}
            false
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}
