{#-
    The statements that list the segments below a home, and their newest verdicts (DuckDB).

    They make the temporary tables `segments_found` (segment, path) and `verdicts_found` (segment,
    verdict).
-#}
{% macro found_segments_sql(home) -%}
    {%- set has_verdicts = run_query(
        "select count(*) from glob('" ~ home ~ "/audit/verdicts/*.parquet')"
    ).rows[0][0] > 0 %}
    create or replace temp table segments_found as
    select
        regexp_extract(file, '([^/]+/[^/]+/process_hour=[^/]+/[^/]+)$', 1) as segment,
        file as path
    from glob('{{ home }}/raw/*/*/process_hour=*/*.parquet');
    create or replace temp table verdicts_found as
    {% if has_verdicts -%}
    select segment, max_by(verdict, decided_at) as verdict
    from read_parquet('{{ home }}/audit/verdicts/*.parquet')
    group by segment;
    {%- else -%}
    select null::varchar as segment, null::varchar as verdict where false;
    {%- endif %}
{%- endmacro %}
