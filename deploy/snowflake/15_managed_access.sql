-- Nobody but the owner of a schema, SYSADMIN, grants inside it, so a role that makes a table cannot
-- show it to others. Not in larder.marts: the transformer owns that one, to swap it with a tested
-- clone (60_grants.sql), and who publishes also shows.
use role sysadmin;

alter schema larder_raw.landing enable managed access;
alter schema larder_raw.governance enable managed access;
alter schema larder_vault.people enable managed access;
alter schema larder_analytics.raw enable managed access;
alter schema larder_analytics.staging enable managed access;
alter schema larder_analytics.anonymised enable managed access;
alter schema larder_analytics.intermediate enable managed access;
alter schema larder_analytics.marts enable managed access;
alter schema larder_analytics.seeds enable managed access;
alter schema larder_analytics.snapshots enable managed access;
alter schema larder_analytics.deployment enable managed access;
