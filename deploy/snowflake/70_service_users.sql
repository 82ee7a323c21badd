-- needs: loading_public_key, transforming_public_key
-- The two users that programs log in as. TYPE = SERVICE takes no password and no single sign-on:
-- a key pair is the only way in. To change a key without a pause, put the new one in
-- rsa_public_key_2 by hand, move the program over, then deploy the new one here.
use role useradmin;

create user if not exists larder_loading_service
type = service
default_role = larder_loader
default_warehouse = larder_loading
comment = 'larder load, audit and erase';
alter user larder_loading_service set rsa_public_key = '{{ loading_public_key }}';

create user if not exists larder_transforming_service
type = service
default_role = larder_transformer
default_warehouse = larder_transforming
comment = 'larder build, train and publish';
alter user larder_transforming_service set rsa_public_key = '{{ transforming_public_key }}';

use role securityadmin;
grant role larder_loader to user larder_loading_service;
grant role larder_transformer to user larder_transforming_service;
