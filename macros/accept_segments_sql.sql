{#-
    The statements that bring `raw.segments` up to date with the folder of segments (DuckDB).

    They read the temporary tables `segments_found`, `verdicts_found` (found_segments_sql) and
    `compacted_found` (compacted_segments_sql).
-#}
{% macro accept_segments_sql(home) -%}
    create schema if not exists raw;
    create table if not exists raw.segments (
        segment varchar, path varchar, source varchar, entity varchar, accepted_at timestamp
    );
    {{ found_segments_sql(home) }}
    {{ compacted_segments_sql(home) }}
    delete from raw.segments
    where
        segment not in (select segment from segments_found)
        {%- if flags.FULL_REFRESH %}
        -- built before an audit has looked at it; what is in incremental models can only stay
        or segment in (select segment from verdicts_found where verdict = 'held')
        {%- endif %};
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
        and coalesce(verdict, '{{ env_var("LARDER_UNAUDITED", "accept") }}') not in ('held', 'wait');
{%- endmacro %}
