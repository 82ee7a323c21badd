-- How long what was deleted can still be brought back (Time Travel), in days. An erased person must be
-- gone, and everything else is made again: raw from the segments in the home folder, the rest from
-- raw. Tables are transient besides, those of dbt as well, so there is no Fail-safe of a week after
-- it, which only Snowflake's support can reach.
use role sysadmin;

alter database larder_raw set data_retention_time_in_days = 0;
alter database larder_analytics set data_retention_time_in_days = 0;
alter database larder set data_retention_time_in_days = 0;
-- Tokens say nothing without the key, and lead nowhere once no row has them; a day to mend a mistake,
-- as the home folder may be gone.
alter database larder_vault set data_retention_time_in_days = 1;
