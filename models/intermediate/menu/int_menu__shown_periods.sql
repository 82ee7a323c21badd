-- one row per cell of a menu report, measure and period that is over: whether its counts may show.
-- All that shows is a sum of days that show and of hidden groups of at least `minimum_people`
-- visitors; so nothing that is hidden is the difference of things that show. A period is judged by
-- what is in it alone, so what showed when it ended shows ever after (late clicks aside)
with item_clicks as (
    select
        cell_key,
        location_id,
        visitor_key,
        measure,
        part,
        event_date
    from {{ ref('int_menu__item_clicks') }}
),

session_steps as (
    select
        cell_key,
        location_id,
        visitor_key,
        furthest_step,
        event_date
    from {{ ref('int_menu__session_steps') }}
),

clocks as (
    select *
    from {{ ref('int_catalog__location_clocks') }}
),

as_of as (
    select as_of_at
    from {{ ref('int_clock__now') }}
),

-- The parts of a measure show together or not at all: what is left of a total must be nobody, or
-- as many people, too.
counted as (
    select
        cell_key,
        location_id,
        visitor_key,
        measure,
        part,
        event_date
    from item_clicks
    union all
    select
        cell_key,
        location_id,
        visitor_key,
        'sessions' as measure,
        'all' as part,
        event_date
    from session_steps
    union all
    select
        cell_key,
        location_id,
        visitor_key,
        'steps' as measure,
        furthest_step as part,
        event_date
    from session_steps
),

dated as (
    select distinct
        counted.cell_key,
        counted.visitor_key,
        counted.measure,
        counted.part,
        counted.event_date,
        cast({{ dbt.date_trunc('week', 'counted.event_date') }} as date) as week_start,
        cast({{ dbt.date_trunc('month', 'counted.event_date') }} as date) as month_start,
        cast({{ dbt.date_trunc('quarter', 'counted.event_date') }} as date) as quarter_start,
        cast(
            {{ local_time('as_of.as_of_at', "coalesce(clocks.time_zone, 'UTC')") }} as date
        ) as local_date
    from counted
    cross join as_of
    left join clocks on counted.location_id = clocks.location_id
),

visitors as (
    select
        *,
        -- 1 where the week has days of two months
        case
            when
                {{ dbt.date_trunc('month', 'week_start') }}
                = {{ dbt.date_trunc('month', 'week_start + 6') }}
                then 0
            else 1
        end as is_split_week
    from dated
    -- today is not over
    where event_date < local_date
),

-- Each period hides or shows what the shorter ones in it have hidden. A week of two months hides
-- all that a day of it hides: else two months that show would tell what it leaves over of them.
{%- for period, column, before in [
    ('day', 'event_date', 'visitors'),
    ('week', 'week_start', 'hidden_by_day'),
    ('month', 'month_start', 'hidden_by_week'),
    ('quarter', 'quarter_start', 'hidden_by_month'),
] %}
{{ period }}_groups as (
    select
        cell_key,
        measure,
        part,
        {{ column }},
        count(distinct visitor_key) as people,
        max({{ 'is_split_week' if period == 'week' else '0' }}) as is_split
    from {{ before }}
    group by cell_key, measure, part, {{ column }}
),

{{ period }}_hidden as (
    select
        cell_key,
        measure,
        {{ column }}
    from {{ period }}_groups
    group by cell_key, measure, {{ column }}
    having min(people) < {{ var('minimum_people') }} or max(is_split) = 1
    union
    -- steps add up to sessions, so they show only where these do
    select
        cell_key,
        'steps' as measure,
        {{ column }}
    from {{ period }}_groups
    where measure = 'sessions'
    group by cell_key, {{ column }}
    having min(people) < {{ var('minimum_people') }} or max(is_split) = 1
),

hidden_by_{{ period }} as (
    select {{ before }}.*
    from {{ before }}
    inner join {{ period }}_hidden
        on
            {{ before }}.cell_key = {{ period }}_hidden.cell_key
            and {{ before }}.measure = {{ period }}_hidden.measure
            and {{ before }}.{{ column }} = {{ period }}_hidden.{{ column }}
),
{% endfor %}
periods as (
    {%- for period, column, ends in [
        ('day', 'event_date', 'event_date + 1'),
        ('week', 'week_start', 'week_start + 7'),
        ('month', 'month_start', dbt.dateadd('month', 1, 'month_start')),
        ('quarter', 'quarter_start', dbt.dateadd('month', 3, 'quarter_start')),
    ] %}
    select distinct
        visitors.cell_key,
        visitors.measure,
        '{{ period }}' as period,
        {{ period }}_hidden.cell_key is null as is_shown,
        visitors.{{ column }} as period_start
    from visitors
    left join {{ period }}_hidden
        on
            visitors.cell_key = {{ period }}_hidden.cell_key
            and visitors.measure = {{ period }}_hidden.measure
            and visitors.{{ column }} = {{ period }}_hidden.{{ column }}
    where {{ ends | replace(column, 'visitors.' ~ column) }} <= visitors.local_date
    {{ 'union all' if not loop.last }}
    {%- endfor %}
)

select *
from periods
