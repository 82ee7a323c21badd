{#-
    The statements that list the segments that there are, and their newest verdicts.

    They make the temporary tables `segments_found` (segment, path), `verdicts_found` (segment,
    verdict) and `compacted_found` (compacted_segments_sql). On DuckDB they look into the home
    folder; on Snowflake at what was uploaded or came by Snowpipe, which is never compacted.
-#}
{% macro found_segments_sql() -%}
    {{ return(adapter.dispatch('found_segments_sql')()) }}
{%- endmacro %}

{% macro default__found_segments_sql() -%}
    {%- set home = env_var('LARDER_HOME', 'warehouse') | replace("'", "''") %}
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
    {{ compacted_segments_sql(home) }}
{%- endmacro %}

{% macro snowflake__found_segments_sql() -%}
    create or replace temp table segments_found as
    select segment, '' as path
    from larder_raw.landing.manifest;
    create or replace temp table verdicts_found as
    select segment, max_by(verdict, decided_at) as verdict
    from larder_raw.landing.verdicts
    group by segment
    union all
    -- no audit sees what came by Snowpipe, so none can be waited for
    select manifest.segment, 'accepted' as verdict
    from larder_raw.landing.manifest
    left join larder_raw.landing.verdicts on manifest.segment = verdicts.segment
    where manifest.stamp = 'snowpipe' and verdicts.segment is null;
    create or replace temp table compacted_found as
    select segment, uploaded_at as accepted_at
    from larder_raw.landing.manifest
    where false;
{%- endmacro %}
