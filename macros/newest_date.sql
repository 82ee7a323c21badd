{#-
    The newest date in a column of a relation as a literal, so that the engine can prune with it.

    relation: an existing relation. column: its name. condition: which rows count.
-#}
{% macro newest_date(relation, column, condition='true') -%}
    {%- set day = none -%}
    {%- if execute -%}
        {%- set day = run_query(
            "select cast(max(" ~ column ~ ") as varchar) from " ~ relation ~ " where " ~ condition
        ).columns[0].values()[0] -%}
    {%- endif -%}
    cast('{{ day or "1900-01-01" }}' as date)
{%- endmacro %}
