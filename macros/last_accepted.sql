{#-
    The newest `accepted_at` of a relation as a literal, so that the engine can prune with it.

    relation: an existing relation with a column `accepted_at`.
-#}
{% macro last_accepted(relation) -%}
    {%- set moment = none -%}
    {%- if execute -%}
        {%- set moment = run_query(
            "select cast(max(accepted_at) as varchar) from " ~ relation
        ).columns[0].values()[0] -%}
    {%- endif -%}
    cast('{{ moment or "1900-01-01 00:00:00" }}' as timestamp)
{%- endmacro %}
