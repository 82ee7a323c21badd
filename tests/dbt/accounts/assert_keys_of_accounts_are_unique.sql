-- no two rows with one key in the tables about people whose key has several columns
with keys as (
    select
        'anon_accounts__customers' as table_name,
        concat_ws('|', customer_key, updated_at) as row_key
    from {{ ref('anon_accounts__customers') }}
    union all
    select
        'anon_accounts__consents' as table_name,
        concat_ws('|', customer_key, purpose, updated_at) as row_key
    from {{ ref('anon_accounts__consents') }}
    union all
    select
        'anon_feedback__ratings' as table_name,
        concat_ws('|', rating_id, updated_at) as row_key
    from {{ ref('anon_feedback__ratings') }}
    union all
    select
        'int_accounts__customer_months' as table_name,
        concat_ws('|', customer_key, valid_from) as row_key
    from {{ ref('int_accounts__customer_months') }}
    union all
    select
        'dim_customers' as table_name,
        concat_ws('|', customer_key, valid_from) as row_key
    from {{ ref('dim_customers') }}
    union all
    select
        'int_accounts__family_counts' as table_name,
        concat_ws(
            '|', scope, coalesce(parent_id, ''), coalesce(scope_id, ''), period, period_start
        ) as row_key
    from {{ ref('int_accounts__family_counts') }}
    union all
    select
        'fct_family_counts' as table_name,
        concat_ws('|', scope, scope_id, period, period_start) as row_key
    from {{ ref('fct_family_counts') }}
    union all
    select
        'rpt_family_growth' as table_name,
        concat_ws('|', scope, scope_id, period, period_start) as row_key
    from {{ ref('rpt_family_growth') }}
)

select
    table_name,
    row_key
from keys
group by table_name, row_key
having count(*) > 1
