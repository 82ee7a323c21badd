-- Warehouses, and the monitor that stops them all when the month's credits are used.
use role accountadmin;

-- The monitor is changed in place: one that is replaced forgets the credits used so far.
create resource monitor if not exists larder_credits
with credit_quota = {{ credit_quota }} frequency = monthly start_timestamp = immediately
triggers on 80 percent do notify on 100 percent do suspend;
alter resource monitor larder_credits
set credit_quota = {{ credit_quota }}
triggers on 80 percent do notify on 100 percent do suspend;

use role sysadmin;

create warehouse if not exists larder_loading
warehouse_size = xsmall auto_suspend = 60 auto_resume = true initially_suspended = true
comment = 'COPY and the vault';
alter warehouse larder_loading set
auto_suspend = 60 auto_resume = true statement_timeout_in_seconds = 3600;

create warehouse if not exists larder_transforming
warehouse_size = xsmall auto_suspend = 60 auto_resume = true initially_suspended = true
comment = 'dbt, training and scoring';
alter warehouse larder_transforming set
auto_suspend = 60 auto_resume = true statement_timeout_in_seconds = 14400;

create warehouse if not exists larder_reading
warehouse_size = xsmall auto_suspend = 60 auto_resume = true initially_suspended = true
comment = 'Analysts, BI and the serving API';
alter warehouse larder_reading set
auto_suspend = 60 auto_resume = true statement_timeout_in_seconds = 600;

-- only ACCOUNTADMIN may put a warehouse under a monitor
use role accountadmin;
alter warehouse larder_loading set resource_monitor = larder_credits;
alter warehouse larder_transforming set resource_monitor = larder_credits;
alter warehouse larder_reading set resource_monitor = larder_credits;
