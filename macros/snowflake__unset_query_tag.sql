{#- Take off the tag of `snowflake__set_query_tag`, so that nothing else is counted for the model. -#}
{% macro snowflake__unset_query_tag(original_query_tag) -%}
    {%- do run_query("alter session unset query_tag") -%}
{%- endmacro %}
