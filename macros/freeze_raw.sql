{#-
    Freeze the list of accepted segments, so that all models of a build see the same raw.

    A segment is accepted when its newest verdict is not `held`; one without a verdict is accepted
    unless LARDER_UNAUDITED is `wait` (as in `larder run`). What was accepted before stays with
    its moment, also when it is held later: incremental models have it already, so it leaves the
    list at the next full refresh. Segments that are gone (compacted, erased) leave it at once.
-#}
{% macro freeze_raw() -%}
    {%- if execute and flags.WHICH in ('run', 'build') -%}
        {%- do run_query(accept_segments_sql()) -%}
        {%- do run_query(rejected_records_sql()) -%}
        {%- do run_query(unreadable_records_sql()) -%}
        {%- for node in graph.sources.values() if node.config.meta.is_landed -%}
            {%- do run_query(segments_view_sql(node)) -%}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro %}
