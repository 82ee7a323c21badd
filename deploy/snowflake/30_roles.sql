-- Roles; what each may do is in 60_grants.sql. SYSADMIN holds them, so that nothing is lost when
-- the people who hold them leave.
use role useradmin;

create role if not exists larder_loader
comment = 'Writes raw and the vault, sees no table that dbt builds';
create role if not exists larder_transformer
comment = 'Builds and publishes, sees raw but not the vault';
create role if not exists larder_reader
comment = 'Reads the published marts and nothing else';
create role if not exists larder_privacy_officer
comment = 'Answers persons: reads everything unmasked, changes nothing';

grant role larder_loader to role sysadmin;
grant role larder_transformer to role sysadmin;
grant role larder_reader to role sysadmin;
grant role larder_privacy_officer to role sysadmin;
