-- columns of the scores that the YAML does not describe as they are: dbt enforces no contract of a
-- Python model, so this does
-- depends_on: {{ ref('ml_waste_probabilities') }}
-- depends_on: {{ ref('ml_order_quantities') }}
-- depends_on: {{ ref('ml_models') }}
-- depends_on: {{ ref('ml_evaluations') }}
-- depends_on: {{ ref('ml_monitoring') }}
with described as (
    {% for node in graph.nodes.values() if node.language == 'python' -%}
    {% for column in node.columns.values() -%}
    select
        '{{ node.name }}' as table_name,
        '{{ column.name }}' as column_name,
        '{{ column.data_type }}' as data_type
    union all
    {% endfor -%}
    {% endfor -%}
    select
        cast(null as varchar) as table_name,
        cast(null as varchar) as column_name,
        cast(null as varchar) as data_type
),

found as (
    select
        lower(table_name) as table_name,
        lower(column_name) as column_name,
        case
            when lower(data_type) in ('varchar', 'text') then 'varchar'
            when lower(data_type) in ('double', 'float') then 'double'
            when lower(data_type) in ('bigint', 'number') then 'bigint'
            when lower(data_type) in ('timestamp', 'timestamp_ntz') then 'timestamp'
            else lower(data_type)
        end as data_type
    from information_schema.columns
    where
        lower(table_schema) = 'marts'
        and lower(table_name) in (select described.table_name from described)
),

different as (
    select
        coalesce(described.table_name, found.table_name) as table_name,
        coalesce(described.column_name, found.column_name) as column_name,
        described.data_type as described_type,
        found.data_type as found_type
    from described
    full outer join found
        on
            described.table_name = found.table_name
            and described.column_name = found.column_name
    where
        (described.table_name is not null or found.table_name is not null)
        and coalesce(described.data_type, '') != coalesce(found.data_type, '')
)

select *
from different
