{#-
    The statements that bring `raw.segments` up to date with the segments that there are.

    They read the temporary tables `segments_found`, `verdicts_found` and `compacted_found`
    (found_segments_sql).
-#}
{% macro accept_segments_sql() -%}
    create schema if not exists raw;
    create table if not exists raw.segments (
        segment varchar, path varchar, source varchar, entity varchar, accepted_at timestamp
    );
    {{ found_segments_sql() }}
    delete from raw.segments
    where
        segment not in (select segment from segments_found)
        {%- if flags.FULL_REFRESH %}
        -- built before an audit has looked at it; what is in incremental models can only stay
        or segment in (select segment from verdicts_found where verdict = 'held')
        {%- endif %};
    -- the home may have moved, or be named from another folder
    update raw.segments
    set path = segments_found.path
    from segments_found
    where segments.segment = segments_found.segment and segments.path != segments_found.path;
    insert into raw.segments
    select
        segments_found.segment,
        segments_found.path,
        split_part(segments_found.segment, '/', 1),
        split_part(segments_found.segment, '/', 2),
        coalesce(
            compacted_found.accepted_at,
            greatest(
                {{ utc_now() }},
                coalesce((select max(accepted_at) from raw.segments), {{ utc_now() }})
                    -- room for a changed seed, which counts as 1 microsecond later
                    + interval '1 millisecond'
            )
        )
    from segments_found
    left join verdicts_found on segments_found.segment = verdicts_found.segment
    left join compacted_found on segments_found.segment = compacted_found.segment
    where
        segments_found.segment not in (select segment from raw.segments)
        and coalesce(verdicts_found.verdict, '{{ env_var("LARDER_UNAUDITED", "accept") }}')
        not in ('held', 'wait');
{%- endmacro %}
