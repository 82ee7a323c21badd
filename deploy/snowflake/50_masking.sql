{% set unmasked = "'LARDER_LOADER', 'LARDER_TRANSFORMER', 'LARDER_PRIVACY_OFFICER'" %}
-- The tag of personal data, and one masking policy for each data type bound to it: whatever is
-- tagged is null for everybody who is not named above. Who may see is decided by the role in use
-- alone, not by roles it has inherited, so SYSADMIN and ACCOUNTADMIN see nulls, too.
--   larder_loader           wrote it; dead letters and erasure read it again
--   larder_transformer      reads payloads in staging; the anonymised layer lets nothing pass
--   larder_privacy_officer  answers persons
-- Needs Snowflake's Enterprise edition. A policy is born closed and changed in place, never
-- dropped: between a drop and the next create everything would be open.
use role sysadmin;

create tag if not exists larder_raw.governance.personal_data
allowed_values 'true'
comment = 'Identifies or describes a person, set by larder deploy from the flags of the project';

create masking policy if not exists larder_raw.governance.mask_varchar
as (val varchar) returns varchar -> case when false then val end;
alter masking policy larder_raw.governance.mask_varchar set body ->
case when current_role() in ({{ unmasked }}) then val end;

create masking policy if not exists larder_raw.governance.mask_number
as (val number) returns number -> case when false then val end;
alter masking policy larder_raw.governance.mask_number set body ->
case when current_role() in ({{ unmasked }}) then val end;

create masking policy if not exists larder_raw.governance.mask_float
as (val float) returns float -> case when false then val end;
alter masking policy larder_raw.governance.mask_float set body ->
case when current_role() in ({{ unmasked }}) then val end;

create masking policy if not exists larder_raw.governance.mask_boolean
as (val boolean) returns boolean -> case when false then val end;
alter masking policy larder_raw.governance.mask_boolean set body ->
case when current_role() in ({{ unmasked }}) then val end;

create masking policy if not exists larder_raw.governance.mask_date
as (val date) returns date -> case when false then val end;
alter masking policy larder_raw.governance.mask_date set body ->
case when current_role() in ({{ unmasked }}) then val end;

create masking policy if not exists larder_raw.governance.mask_timestamp_ntz
as (val timestamp_ntz) returns timestamp_ntz -> case when false then val end;
alter masking policy larder_raw.governance.mask_timestamp_ntz set body ->
case when current_role() in ({{ unmasked }}) then val end;

create masking policy if not exists larder_raw.governance.mask_timestamp_ltz
as (val timestamp_ltz) returns timestamp_ltz -> case when false then val end;
alter masking policy larder_raw.governance.mask_timestamp_ltz set body ->
case when current_role() in ({{ unmasked }}) then val end;

create masking policy if not exists larder_raw.governance.mask_timestamp_tz
as (val timestamp_tz) returns timestamp_tz -> case when false then val end;
alter masking policy larder_raw.governance.mask_timestamp_tz set body ->
case when current_role() in ({{ unmasked }}) then val end;

create masking policy if not exists larder_raw.governance.mask_variant
as (val variant) returns variant -> case when false then val end;
alter masking policy larder_raw.governance.mask_variant set body ->
case when current_role() in ({{ unmasked }}) then val end;

create masking policy if not exists larder_raw.governance.mask_array
as (val array) returns array -> case when false then val end;
alter masking policy larder_raw.governance.mask_array set body ->
case when current_role() in ({{ unmasked }}) then val end;

create masking policy if not exists larder_raw.governance.mask_object
as (val object) returns object -> case when false then val end;
alter masking policy larder_raw.governance.mask_object set body ->
case when current_role() in ({{ unmasked }}) then val end;

create masking policy if not exists larder_raw.governance.mask_binary
as (val binary) returns binary -> case when false then val end;
alter masking policy larder_raw.governance.mask_binary set body ->
case when current_role() in ({{ unmasked }}) then val end;

use role accountadmin;

-- `force` puts the policy of a data type in the place of another one
alter tag larder_raw.governance.personal_data set
masking policy larder_raw.governance.mask_varchar,
masking policy larder_raw.governance.mask_number,
masking policy larder_raw.governance.mask_float,
masking policy larder_raw.governance.mask_boolean,
masking policy larder_raw.governance.mask_date,
masking policy larder_raw.governance.mask_timestamp_ntz,
masking policy larder_raw.governance.mask_timestamp_ltz,
masking policy larder_raw.governance.mask_timestamp_tz,
masking policy larder_raw.governance.mask_variant,
masking policy larder_raw.governance.mask_array,
masking policy larder_raw.governance.mask_object,
masking policy larder_raw.governance.mask_binary
force;

-- In these schemas everything is tagged, by inheritance: dbt replaces their views at each build,
-- which takes the tags off their columns, and must not open them until the next deploy. The
-- columns that are flagged in the project are tagged one by one as well, see `larder deploy`.
alter schema larder_analytics.raw set tag larder_raw.governance.personal_data = 'true';
alter schema larder_analytics.staging set tag larder_raw.governance.personal_data = 'true';
