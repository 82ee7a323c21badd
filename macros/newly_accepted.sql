{#-
    The condition on a staging model: only records accepted since `relation` was last built.

    relation: the incremental model, with a column `accepted_at`.
    DuckDB names the segments, so that it opens no other file; Snowflake prunes by the moment.
-#}
{% macro newly_accepted(relation) -%}
    {{ return(adapter.dispatch('newly_accepted')(relation)) }}
{%- endmacro %}

{% macro default__newly_accepted(relation) -%}
    accepted_at > {{ last_accepted(relation) }}
{%- endmacro %}

{% macro duckdb__newly_accepted(relation) -%}
    {{ named_segments("accepted_at > " ~ last_accepted(relation)) }}
{%- endmacro %}
