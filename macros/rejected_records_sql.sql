{#- The view of what could not be taken, whatever the entity, with its reason. -#}
{% macro rejected_records_sql() -%}
    create or replace view raw.rejected_records as
    {{ segment_rows_sql("true") }}
    where records.rejection_reason is not null
{%- endmacro %}
