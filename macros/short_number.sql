{#-
    A number as people write it: at most one decimal, none where it is whole.

    number: an expression.
-#}
{% macro short_number(number) -%}
    regexp_replace(cast(cast(round({{ number }}, 1) as numeric(18, 1)) as varchar), '[.]0$', '')
{%- endmacro %}
