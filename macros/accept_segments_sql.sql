{#- The statements that bring `raw.segments` up to date with the folder of segments (DuckDB). -#}
{% macro accept_segments_sql(home) -%}
    {%- set has_verdicts = run_query(
        "select count(*) from glob('" ~ home ~ "/audit/verdicts/*.parquet')"
    ).rows[0][0] > 0 -%}
    {%- set has_compacted = run_query(
        "select count(*) from glob('" ~ home ~ "/raw/*/*/process_hour=*/compacted-*.parquet')"
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
    create or replace temp table parts_found as
    {% if has_compacted -%}
    select
        regexp_extract(file_name, '([^/]+/[^/]+/process_hour=[^/]+/[^/]+)$', 1) as segment,
        unnest(from_json(decode(value), '["VARCHAR"]')) as part
    from parquet_kv_metadata('{{ home }}/raw/*/*/process_hour=*/compacted-*.parquet')
    where decode(key) = 'larder_parts';
    {%- else -%}
    select null::varchar as segment, null::varchar as part where false;
    {%- endif %}
    -- a compacted segment has been accepted when all of its parts had been
    create or replace temp table compacted_found as
    select
        parts_found.segment,
        case when count(*) = count(known.segment) then max(known.accepted_at) end as accepted_at
    from parts_found
    left join raw.segments as known on parts_found.part = known.segment
    group by parts_found.segment;
    delete from segments_found
    where segment in (select part from parts_found);
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
        coalesce(
            compacted_found.accepted_at,
            greatest(
                now()::timestamp,
                coalesce((select max(accepted_at) from raw.segments), now()::timestamp)
                    -- room for a changed seed, which counts as 1 microsecond later
                    + interval 1 millisecond
            )
        )
    from segments_found
    left join verdicts_found using (segment)
    left join compacted_found using (segment)
    where
        segment not in (select segment from raw.segments)
        and coalesce(verdict, '{{ unaudited }}') not in ('held', 'wait');
{%- endmacro %}
