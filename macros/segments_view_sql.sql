{#-
    The view of an entity over its accepted segments: the good records, with the moment
    they were accepted.
-#}
{% macro segments_view_sql(node) -%}
    create or replace view raw.{{ node.identifier }} as
    {{ segment_rows_sql("source || '_' || entity = '" ~ node.identifier ~ "'") }}
    where records.rejection_reason is null and records.payload is not null
{%- endmacro %}
