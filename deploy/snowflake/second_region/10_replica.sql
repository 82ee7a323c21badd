-- needs: first_account
-- Applied in the account of the second region (`larder deploy --second-region`): the copy of the
-- published database, refreshed on the schedule of the first account, and a role that reads it.
use role accountadmin;

create replication group if not exists larder_published
as replica of {{ first_account }}.larder_published;

-- an account counts its own credits
create resource monitor if not exists larder_credits
with credit_quota = {{ credit_quota }} frequency = monthly start_timestamp = immediately
triggers on 80 percent do notify on 100 percent do suspend;
alter resource monitor larder_credits
set credit_quota = {{ credit_quota }}
triggers on 80 percent do notify on 100 percent do suspend;

create warehouse if not exists larder_reading
warehouse_size = xsmall auto_suspend = 60 auto_resume = true initially_suspended = true
comment = 'Analysts, BI and the serving API';
alter warehouse larder_reading set
auto_suspend = 60 auto_resume = true statement_timeout_in_seconds = 600;
alter warehouse larder_reading set resource_monitor = larder_credits;

use role useradmin;
create role if not exists larder_reader
comment = 'Reads the published marts and nothing else';
grant role larder_reader to role sysadmin;

-- A copy comes without the grants of the first account, for its roles are not replicated. So they
-- are made here, and again (`larder deploy --second-region`) when a refresh brought a new schema.
use role accountadmin;
alter replication group larder_published refresh;
grant usage on warehouse larder_reading to role larder_reader;
grant usage on database larder to role larder_reader;
grant usage on all schemas in database larder to role larder_reader;
grant select on all tables in database larder to role larder_reader;
