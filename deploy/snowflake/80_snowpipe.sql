-- needs: segments_url, segments_role_arn
-- Snowpipe takes in what a loader of yours drops below {{ segments_url }}. Larder's own upload does
-- not go there: it PUTs segments on an internal stage, COPYs and removes them, because the bucket
-- keeps old versions and a copy, in which an erased person would stay.
--
-- What is dropped are *segments*, not files of the landing zone: a person's token is made with the
-- key, and the key never enters Snowflake. A pipe over raw lines would hold persons without tokens,
-- that no erasure finds and no model may read. So a dropped file has the columns of `records` by
-- name, filled as docs/production.md says, `segment` and `line_number` among them: a copy by column
-- name can compute nothing. A pipe is never replaced: a new one forgets what it has loaded.
use role accountadmin;

create storage integration if not exists larder_segments
type = external_stage
storage_provider = 'S3'
enabled = true
storage_aws_role_arn = '{{ segments_role_arn }}'
storage_allowed_locations = ('{{ segments_url }}');
grant usage on integration larder_segments to role sysadmin;

use role sysadmin;

create file format if not exists larder_raw.landing.segment_format
type = parquet use_logical_type = true;
create stage if not exists larder_raw.landing.arriving_segments
url = '{{ segments_url }}'
storage_integration = larder_segments
file_format = (format_name = 'larder_raw.landing.segment_format')
comment = 'Segments that another loader drops for Snowpipe';
create pipe if not exists larder_raw.landing.segments_pipe
auto_ingest = true
as
copy into larder_raw.landing.records
from @larder_raw.landing.arriving_segments
file_format = (format_name = 'larder_raw.landing.segment_format')
match_by_column_name = case_insensitive;

-- A segment counts from its row in the manifest on, so a task writes that row once the records are
-- there (a file is copied whole or not at all). It compares the last part of names, which names a
-- content: what Larder's upload has sent, and the stream tells of as well, has its row already.
-- `stamp` says that a segment came this way; an upload of the same content takes its place.
create stream if not exists larder_raw.landing.arrived_records
on table larder_raw.landing.records
append_only = true;

use role accountadmin;
grant execute task on account to role larder_loader;
use role securityadmin;
grant usage on file format larder_raw.landing.segment_format to role larder_loader;
grant usage on stage larder_raw.landing.arriving_segments to role larder_loader;
grant monitor, operate on pipe larder_raw.landing.segments_pipe to role larder_loader;
grant select on stream larder_raw.landing.arrived_records to role larder_loader;
grant create task on schema larder_raw.landing to role larder_loader;

use role larder_loader;
create task if not exists larder_raw.landing.write_manifest
warehouse = larder_loading
schedule = '1 minute'
when system$stream_has_data('larder_raw.landing.arrived_records')
as
insert into larder_raw.landing.manifest
(segment, source, entity, stamp, records, rejected, source_files, uploaded_at)
select
    arrived.segment,
    split_part(arrived.segment, '/', 1) as source,
    split_part(arrived.segment, '/', 2) as entity,
    'snowpipe' as stamp,
    count(*) as records,
    count_if(arrived.rejection_reason is not null) as rejected,
    '["' || listagg(distinct arrived.source_file, '", "') || '"]' as source_files,
    sysdate() as uploaded_at
from larder_raw.landing.arrived_records as arrived
left join larder_raw.landing.manifest as known
    on split_part(known.segment, '/', -1) = split_part(arrived.segment, '/', -1)
where arrived.segment is not null and known.segment is null
group by arrived.segment;
alter task larder_raw.landing.write_manifest resume;
