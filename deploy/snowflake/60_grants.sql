-- What each role may do, as little as its work needs; nothing is granted to PUBLIC. Comes after the
-- check that every flagged column is masked, so that nobody is let in before. A new schema of dbt's
-- is added in 10_databases.sql and here.
use role securityadmin;

-- loader: writes raw and the vault, and takes erased people out of both; nothing of what dbt builds
grant usage on warehouse larder_loading to role larder_loader;
grant usage on database larder_raw to role larder_loader;
grant usage on schema larder_raw.landing to role larder_loader;
grant select, insert, delete on all tables in schema larder_raw.landing to role larder_loader;
grant select, insert, delete on future tables in schema larder_raw.landing to role larder_loader;
grant read, write on stage larder_raw.landing.segments to role larder_loader;
grant usage on database larder_vault to role larder_loader;
grant usage on schema larder_vault.people to role larder_loader;
grant select, insert, delete on all tables in schema larder_vault.people to role larder_loader;
grant select, insert, delete on future tables in schema larder_vault.people to role larder_loader;
-- to count a turn, which keeps other homes out until it is over
grant update on table larder_vault.people.fingerprint to role larder_loader;
grant read, write on stage larder_vault.people.arriving to role larder_loader;

-- transformer: reads raw, builds analytics, publishes; nothing of the vault. It owns the tables that
-- it makes, and so needs no more to take erased people out of them
grant usage on warehouse larder_transforming to role larder_transformer;
grant usage on database larder_raw to role larder_transformer;
grant usage on schema larder_raw.landing to role larder_transformer;
grant select on all tables in schema larder_raw.landing to role larder_transformer;
grant select on future tables in schema larder_raw.landing to role larder_transformer;
grant usage on database larder_analytics to role larder_transformer;
grant usage, create table, create view on schema larder_analytics.raw to role larder_transformer;
grant usage, create table, create view on schema larder_analytics.staging
to role larder_transformer;
grant usage, create table, create view on schema larder_analytics.anonymised
to role larder_transformer;
grant usage, create table, create view on schema larder_analytics.intermediate
to role larder_transformer;
-- stages and file formats: a Python model's frame goes through temporary ones of both
grant usage, create table, create view, create stage, create file format
on schema larder_analytics.marts to role larder_transformer;
grant usage, create table, create view on schema larder_analytics.seeds
to role larder_transformer;
grant usage, create table, create view on schema larder_analytics.snapshots
to role larder_transformer;
grant usage on schema larder_analytics.deployment to role larder_transformer;
-- a build stages the code that its Python models import
grant read, write on stage larder_analytics.deployment.code to role larder_transformer;
-- a generation is a schema of its own, and the switch needs to own both
grant usage, create schema on database larder to role larder_transformer;
grant ownership on schema larder.marts to role larder_transformer copy current grants;

-- reader: the published marts. For the whole database, because a grant on a schema's future tables
-- would not be on the clone that takes its place
grant usage on warehouse larder_reading to role larder_reader;
grant usage on database larder to role larder_reader;
grant usage on all schemas in database larder to role larder_reader;
grant usage on future schemas in database larder to role larder_reader;
grant select on all tables in database larder to role larder_reader;
grant select on future tables in database larder to role larder_reader;
grant select on all views in database larder to role larder_reader;
grant select on future views in database larder to role larder_reader;

-- privacy officer: reads everything and changes nothing; erasing is the job's, which owns the rows
grant usage on warehouse larder_reading to role larder_privacy_officer;
grant usage on database larder_raw to role larder_privacy_officer;
grant usage on schema larder_raw.landing to role larder_privacy_officer;
grant select on all tables in schema larder_raw.landing to role larder_privacy_officer;
grant select on future tables in schema larder_raw.landing
to role larder_privacy_officer;
grant read on stage larder_raw.landing.segments to role larder_privacy_officer;
grant usage on database larder_vault to role larder_privacy_officer;
grant usage on schema larder_vault.people to role larder_privacy_officer;
grant select on all tables in schema larder_vault.people
to role larder_privacy_officer;
grant select on future tables in schema larder_vault.people
to role larder_privacy_officer;
grant usage on database larder_analytics to role larder_privacy_officer;
grant usage on all schemas in database larder_analytics to role larder_privacy_officer;
grant select on all tables in database larder_analytics to role larder_privacy_officer;
grant select on future tables in database larder_analytics
to role larder_privacy_officer;
grant select on all views in database larder_analytics to role larder_privacy_officer;
grant select on future views in database larder_analytics to role larder_privacy_officer;
grant usage on database larder to role larder_privacy_officer;
grant usage on all schemas in database larder to role larder_privacy_officer;
grant usage on future schemas in database larder to role larder_privacy_officer;
grant select on all tables in database larder to role larder_privacy_officer;
grant select on future tables in database larder to role larder_privacy_officer;

-- what a model has cost (queries/cost_per_model.sql) is read by who holds the warehouses
use role accountadmin;
grant database role snowflake.usage_viewer to role sysadmin;
