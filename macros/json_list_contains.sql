{#-
    Whether a JSON list of texts holds a text; an absent list holds nothing.

    list: an expression with JSON text. text: an expression.
-#}
{% macro json_list_contains(list, text) -%}
    {{ return(adapter.dispatch('json_list_contains')(list, text)) }}
{%- endmacro %}

{% macro default__json_list_contains(list, text) -%}
    list_contains(from_json({{ list }}, '["VARCHAR"]'), {{ text }})
{%- endmacro %}

{% macro snowflake__json_list_contains(list, text) -%}
    array_contains(to_variant({{ text }}), try_parse_json({{ list }})::array)
{%- endmacro %}
