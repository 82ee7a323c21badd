{#-
    Tag every statement of a model, seed, snapshot or test with JSON that names it, so that its cost
    can be read from Snowflake's history (deploy/snowflake/queries/cost_per_model.sql).

    dbt-snowflake calls it before and `unset_query_tag` after each node; DuckDB never does. A
    `query_tag` in a node's config is not used: the tag is always this one.
-#}
{% macro snowflake__set_query_tag() -%}
    {%- set tag = tojson({
        'app': 'larder',
        'model': model.name,
        'kind': model.resource_type,
        'invocation_id': invocation_id,
    }) -%}
    {%- do run_query("alter session set query_tag = '" ~ (tag | replace("'", "''")) ~ "'") -%}
{%- endmacro %}
