{#-
    The text of a field of a JSON record; an absent or empty field is null.

    record: a column with JSON text. field: its name; several names are tried in turn.
    among: `record` is what json_texts gave for these places, of which each name is one.
    is_checked: the loader checks the optional field's value; what failed is null (needs the column
    `unreadable_fields`).
-#}
{% macro json_text(record, field, is_checked=false, among=none) -%}
    {%- set fields = [field] if field is string else field -%}
    {%- set texts = [] -%}
    {%- for name in fields -%}
        {%- do texts.append(adapter.dispatch('json_text')(record, name, among)) -%}
    {%- endfor -%}
    {%- if is_checked -%}
        case
            when coalesce(',' || unreadable_fields || ',', '') not like '%,{{ fields[0] }},%'
            then {{ json_text(record, field, among=among) }}
        end
    {%- else -%}
    nullif({{ texts[0] if texts | length == 1 else 'coalesce(' ~ texts | join(', ') ~ ')' }}, '')
    {%- endif -%}
{%- endmacro %}

{% macro default__json_text(record, field, among) -%}
    {%- if among -%}
    {{ record }}[{{ among.index(field) + 1 }}]
    {%- else -%}
    json_extract_string({{ record }}, '$.{{ field }}')
    {%- endif -%}
{%- endmacro %}

{% macro snowflake__json_text(record, field, among) -%}
    get_path({{ record if among else 'try_parse_json(' ~ record ~ ')' }}, '{{ field }}')::varchar
{%- endmacro %}
