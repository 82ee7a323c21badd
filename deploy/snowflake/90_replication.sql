-- needs: second_account
-- The published database, copied to an account in another region: there, readers go on when this
-- region is down. A replication group, because every edition has it for databases; a failover
-- group, which can also make the copy the primary, needs Business Critical. It takes only the
-- database: the reader's role and warehouse of the other account are made there, see
-- second_region/10_replica.sql. Marts hold no personal data, so no policy is left behind.
use role accountadmin;

create replication group if not exists larder_published
object_types = databases
allowed_databases = larder
allowed_accounts = {{ second_account }}
replication_schedule = '{{ replication_minutes }} minute';
alter replication group larder_published set
replication_schedule = '{{ replication_minutes }} minute';
