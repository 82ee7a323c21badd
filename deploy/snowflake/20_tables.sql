-- The tables and stages that the loader writes. Never replaced: `create or replace` would empty
-- them. Transient, so that what is erased is in no Fail-safe. A column that a later version adds comes as `alter table … add column if not exists`.
use role sysadmin;

-- one row per record as it came, rejected ones included; `segment` names the file it came in
create transient table if not exists larder_raw.landing.records (
    payload varchar,
    natural_key varchar,
    content_hash varchar,
    rejection_reason varchar,
    rejection_detail varchar,
    unreadable_fields varchar,
    source_file varchar,
    line_number number(38, 0),
    received_at timestamp_ntz(6),
    loaded_at timestamp_ntz(6),
    commerce_token varchar,
    health_token varchar,
    driver_token varchar,
    visitor_token varchar,
    segment varchar
);
alter table larder_raw.landing.records add column if not exists account_token varchar;
alter table larder_raw.landing.records add column if not exists trip_account_token varchar;

-- one row per segment; its records are there when this row is, for both come in one transaction
create transient table if not exists larder_raw.landing.manifest (
    segment varchar,
    source varchar,
    entity varchar,
    -- size and time of the segment: another one has been rewritten by an erasure
    stamp varchar,
    records number(38, 0),
    rejected number(38, 0),
    source_files varchar,
    uploaded_at timestamp_ntz(6)
);

-- one row per decision of an audit on a segment; the newest counts
create transient table if not exists larder_raw.landing.verdicts (
    segment varchar,
    verdict varchar,
    decided_at timestamp_ntz(6),
    reason varchar,
    batch varchar
);

create stage if not exists larder_raw.landing.segments
comment = 'Parquet segments on their way into records';

-- one row per person and domain; the hash is HMAC-SHA-256 of the person's id, hexadecimal
create transient table if not exists larder_vault.people.tokens (
    domain varchar not null,
    person_hash varchar not null,
    token varchar not null,
    primary key (domain, person_hash)
);

-- one row per erased person and domain: no loader takes anything of them any more
create transient table if not exists larder_vault.people.tombstones (
    domain varchar not null,
    person_hash varchar not null,
    primary key (domain, person_hash)
);

-- one row: which key the vault was made with; who writes tokens first counts a turn, which locks it
create transient table if not exists larder_vault.people.fingerprint (
    fingerprint varchar not null,
    turns number(38, 0) not null
);

create stage if not exists larder_vault.people.arriving
comment = 'Tokens and tombstones on their way into the vault';

create stage if not exists larder_analytics.deployment.code
comment = 'larder.learning as the zip that the Python models import';
