-- Databases and schemas. A new layer of dbt's is added here, in 15_managed_access.sql and in
-- 60_grants.sql.
use role sysadmin;

-- What the loader wrote, as it came: personal data.
create database if not exists larder_raw;
-- records, their manifest and the verdicts of the audits
create schema if not exists larder_raw.landing;
-- the tag of personal data and the masking policies bound to it
create schema if not exists larder_raw.governance;

-- Person to random tokens: says nothing without the key, which never enters Snowflake.
create database if not exists larder_vault;
create schema if not exists larder_vault.people;

-- What dbt builds: people are random tokens from the anonymised layer on.
create database if not exists larder_analytics;
create schema if not exists larder_analytics.raw;
create schema if not exists larder_analytics.staging;
create schema if not exists larder_analytics.anonymised;
create schema if not exists larder_analytics.intermediate;
create schema if not exists larder_analytics.marts;
create schema if not exists larder_analytics.seeds;
create schema if not exists larder_analytics.snapshots;
-- what larder deploy stages
create schema if not exists larder_analytics.deployment;

-- The published marts: all that readers ever see.
create database if not exists larder;
create schema if not exists larder.marts;
