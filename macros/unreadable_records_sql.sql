{#-
    The view of the good records, whatever the entity, with optional fields that could not be read.
-#}
{% macro unreadable_records_sql() -%}
    create or replace view raw.unreadable_records as
    {{ segment_rows_sql("true") }}
    where
        records.rejection_reason is null
        and records.payload is not null
        and records.unreadable_fields is not null
{%- endmacro %}
