{#-
    The condition on a staging model: only records of segments that `relation` does not know.

    relation: the incremental model, with a column `segment`. Unlike `newly_accepted` it finds what
    was compacted, which is a new segment of records that were accepted before.
    DuckDB names the segments, so that it opens no other file.
-#}
{% macro newly_listed(relation) -%}
    {{ return(adapter.dispatch('newly_listed')(relation)) }}
{%- endmacro %}

{% macro default__newly_listed(relation) -%}
    segment not in (select known.segment from {{ relation }} as known)
{%- endmacro %}

{% macro duckdb__newly_listed(relation) -%}
    {{ named_segments("segment not in (select known.segment from " ~ relation ~ " as known)") }}
{%- endmacro %}
