{#-
    A text as a type, null where it cannot be read: the one way from text to a type.

    text: an expression. type: timestamp (UTC, without zone), date, number, integer or boolean.
    The loader reads the same way (`loaders/checks.py`), so what it let pass is readable here.
-#}
{% macro try_read(text, type) -%}
    {{ return(adapter.dispatch('try_read')(text, type)) }}
{%- endmacro %}

{% macro default__try_read(text, type) -%}
    {%- if type == 'timestamp' -%}
        cast(try_cast(replace({{ text }}, chr(8211), '-') as timestamptz) as timestamp)
    {%- elif type == 'date' -%}
        try_cast(replace({{ text }}, chr(8211), '-') as date)
    {%- elif type == 'number' -%}
        try_cast({{ text }} as numeric(18, 6))
    {%- elif type == 'integer' -%}
        cast(try_cast({{ text }} as numeric(18, 6)) as bigint)
    {%- elif type == 'boolean' -%}
        try_cast({{ text }} as boolean)
    {%- endif -%}
{%- endmacro %}

{% macro snowflake__try_read(text, type) -%}
    {%- if type == 'timestamp' -%}
        convert_timezone('UTC', try_to_timestamp_tz(replace({{ text }}, chr(8211), '-')))::timestamp_ntz
    {%- elif type == 'date' -%}
        try_to_date(replace({{ text }}, chr(8211), '-'))
    {%- elif type == 'number' -%}
        try_to_number({{ text }}, 18, 6)
    {%- elif type == 'integer' -%}
        cast(try_to_number({{ text }}, 18, 6) as bigint)
    {%- elif type == 'boolean' -%}
        try_to_boolean({{ text }})
    {%- endif -%}
{%- endmacro %}
