{#-
    One row per element of a JSON list, with the columns of its row: `element` (JSON text) and
    `element_number` (from 0).

    relation: a CTE or table. columns: its columns to keep. list: its column with the list as text.
-#}
{% macro json_elements(relation, columns, list) -%}
    {{ return(adapter.dispatch('json_elements')(relation, columns, list)) }}
{%- endmacro %}

{% macro default__json_elements(relation, columns, list) -%}
    select
        {{ columns | join(', ') }},
        cast(unnest(elements) as varchar) as element,
        generate_subscripts(elements, 1) - 1 as element_number
    from (
        select
            {{ columns | join(', ') }},
            try(from_json({{ list }}, '["JSON"]')) as elements
        from {{ relation }}
    ) as lists
{%- endmacro %}

{% macro snowflake__json_elements(relation, columns, list) -%}
    select
        {% for column in columns -%}
        lists.{{ column }},
        {% endfor -%}
        to_json(elements.value) as element,
        elements.index as element_number
    from {{ relation }} as lists,
        lateral flatten(input => try_parse_json(lists.{{ list }})) as elements
{%- endmacro %}
