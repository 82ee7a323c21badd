-- What each model has cost in the last 30 days: credits of the warehouse, without its idle time.
-- Reads the tag that macros/snowflake__set_query_tag.sql puts on every statement of a model. The
-- view is up to eight hours behind. Needs the database role SNOWFLAKE.USAGE_VIEWER (SYSADMIN).
select
    try_parse_json(query_tag):model::varchar as model,
    count(distinct try_parse_json(query_tag):invocation_id::varchar) as builds,
    count(*) as statements,
    sum(credits_attributed_compute) as credits,
    sum(credits_attributed_compute)
    / nullif(count(distinct try_parse_json(query_tag):invocation_id::varchar), 0)
        as credits_per_build
from snowflake.account_usage.query_attribution_history
where
    start_time >= dateadd(day, -30, current_timestamp())
    and try_parse_json(query_tag):app::varchar = 'larder'
group by model
order by credits desc
