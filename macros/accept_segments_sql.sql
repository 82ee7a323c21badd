{#- The statements that bring `raw.segments` up to date with the folder of segments (DuckDB). -#}
{% macro accept_segments_sql(home) -%}
    {%- set has_verdicts = run_query(
        "select count(*) from glob('" ~ home ~ "/audit/verdicts/*.parquet')"
    ).rows[0][0] > 0 -%}
    {%- set unaudited = env_var('LARDER_UNAUDITED', 'accept') %}
    create schema if not exists raw;
    create table if not exists raw.segments (
        segment varchar, path varchar, source varchar, entity varchar, accepted_at timestamp
    );
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
    delete from raw.segments
    where segment not in (select segment from segments_found);
    -- the home may have moved, or be named from another folder
    update raw.segments as known
    set path = segments_found.path
    from segments_found
    where known.segment = segments_found.segment and known.path != segments_found.path;
    insert into raw.segments
    select
        segment, path, split_part(segment, '/', 1), split_part(segment, '/', 2),
        greatest(
            now()::timestamp,
            coalesce((select max(accepted_at) from raw.segments), now()::timestamp)
                + interval 1 microsecond
        )
    from segments_found
    left join verdicts_found using (segment)
    where
        segment not in (select segment from raw.segments)
        and coalesce(verdict, '{{ unaudited }}') not in ('held', 'wait');
{%- endmacro %}
