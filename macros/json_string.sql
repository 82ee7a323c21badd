{#-
    A text as JSON writes it, in quotes and with everything escaped that has to be.

    text: an expression.
-#}
{% macro json_string(text) -%}
    {{ return(adapter.dispatch('json_string')(text)) }}
{%- endmacro %}

{% macro default__json_string(text) -%}
    cast(to_json({{ text }}) as varchar)
{%- endmacro %}

{% macro snowflake__json_string(text) -%}
    to_json(to_variant({{ text }}))
{%- endmacro %}
