from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from erased_people import GONE, build, write_everything
from faulty_s3 import FaultyS3, S3Home, faulty_server
from landing_zone import Home, make_home
from sample_networks import MEDIUM, TINY, Sample, create_table, write

from loaders.vault import open_vault


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


@pytest.fixture(scope="module")
def s3_server() -> Iterator[FaultyS3]:
    """An S3 endpoint for the tests of a file."""
    with faulty_server() as server:
        yield server


@pytest.fixture
def s3_home(tmp_path: Path, s3_server: FaultyS3) -> Iterator[S3Home]:
    """A home whose files arrive in S3; the server forgets what failed before."""
    s3_server.faults.clear()
    home = S3Home(tmp_path, f"bucket-{uuid.uuid4().hex}", s3_server)
    s3_server.requests.clear()
    yield home
    s3_server.faults.clear()


@pytest.fixture
def token(home: Home) -> str:
    """The token of a person who is in every file, in a build and in the truth."""
    write_everything(home)
    home.load()
    with open_vault(home.settings) as vault:
        (token,) = vault.known_tokens(GONE, ["commerce"])
    build(home, token)
    return token


@pytest.fixture(scope="session")
def medium(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return write(tmp_path_factory.mktemp("medium"), MEDIUM)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return write(tmp_path_factory.mktemp("tiny"), TINY)


@pytest.fixture(scope="session")
def network(medium: Sample) -> Iterator[duckdb.DuckDBPyConnection]:
    """Hold the medium sample as tables: typed events, order lines, customers, the truth."""
    landing, truth, _ = medium
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        for entity in ("fridge/stock_events", "orders/order_lines", "catalog/locations"):
            create_table(connection, landing, entity)
        for entity in ("catalog/items", "accounts/customers", "feedback/ratings"):
            create_table(connection, landing, entity)
        connection.execute(
            """
            create table events as
            select
                eve.* replace (
                    occurred_at::timestamptz::timestamp as occurred_at,
                    quantity::bigint as quantity,
                    expires_on::date as expires_on
                ),
                timezone(loc.time_zone, occurred_at::timestamptz) as local_at,
                case eve.kind
                    when 'restocked' then quantity::bigint
                    when 'put_back' then quantity::bigint
                    when 'counted' then null
                    else -quantity::bigint
                end as change,
            from stock_events as eve
            join locations as loc using (location_id)
            where event_id not like 'broken%' and event_id is not null
            -- Delivered twice is once; the text of a value may differ with its file's format.
            qualify row_number() over (partition by event_id order by occurred_at) = 1
            """
        )
        for name in ("intensity", "policy", "tastes"):
            connection.execute(f"create table {name} as from '{truth / name}.parquet'")
        connection.execute(f"create table truth_locations as from '{truth}/locations.parquet'")
        yield connection
