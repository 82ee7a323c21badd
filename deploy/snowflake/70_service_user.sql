-- needs: service_public_key
-- The user that the job logs in as: `larder run` loads as larder_loader, builds and publishes as
-- larder_transformer and reads as larder_reader, one role a session. TYPE = SERVICE takes no password
-- and no single sign-on: a key pair is the only way in. To change the key without a pause, put the
-- new one in rsa_public_key_2 by hand, move the program over, then deploy the new one here.
use role useradmin;

create user if not exists larder_service
type = service
default_role = larder_reader
default_warehouse = larder_reading
comment = 'larder run';
alter user larder_service set rsa_public_key = '{{ service_public_key }}';

use role securityadmin;
grant role larder_loader to user larder_service;
grant role larder_transformer to user larder_service;
grant role larder_reader to user larder_service;
