"""What Snowpipe brings: its COPY, the manifest that the task writes, and nothing twice.

The emulator reads no bucket and has no pipe, stream or task. So the statements of the pipe and of
the task are run by hand, from an internal stage and with the table in the place of its stream.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import duckdb
import pytest
from conftest import Account
from landing_zone import Home, line

from larder.deploy.statements import read_statements
from larder.deploy.variables import variables
from larder.settings import PROJECT_ROOT, Settings
from larder.snowflake import LANDING, fetch, open_snowflake
from larder.warehouse import literal
from loaders.ledger import find_segments
from loaders.staging import FILE_FORMAT
from loaders.upload import UploadSummary, upload

HOUR = "process_hour=2024-06-01T12"
OTHER_HOUR = "process_hour=2020-01-01T00"
ITEM = {
    "item_name": "soup",
    "category": "soup",
    "price_usd": 5,
    "unit_cost_usd": 2,
    "shelf_life_days": 3,
    "updated_at": "2024-01-01T00:00:00Z",
}


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def home(account: Account, tmp_path: Path) -> Home:
    """A home with one segment of two records, the second broken, on an account without any."""
    settings = account.settings(tmp_path / "home", tmp_path / "home.key")
    account.forget_records(settings)
    found = Home(settings)
    found.land("catalog/items/a.ndjson", line(ITEM | {"item_id": "a1"}) + b"{broken\n")
    found.load()
    return found


def own_segment(home: Home, hour: str = HOUR) -> str:
    """Return the name that the home's segment has, in an hour."""
    (path,) = find_segments(home.settings.raw_folder)
    return f"catalog/items/{hour}/{path.name}"


def statement(settings: Settings, beginning: str) -> str:
    """Return what a pipe or task does."""
    with_bucket = settings.model_copy(
        update={
            "snowflake_segments_url": "s3://larder-landing/segments/",
            "snowflake_segments_role_arn": "arn:aws:iam::123456789012:role/larder-snowflake",
        }
    )
    statements, _ = read_statements(variables(with_bucket))
    (found,) = [one.sql for one in statements if one.sql.startswith(beginning)]
    return found.partition("\nas\n")[2]


def drop(home: Home, segment: str, folder: Path) -> None:
    """Let another loader drop the home's rows under this name, pipe and task do their work."""
    (path,) = find_segments(home.settings.raw_folder)
    # a name of the test's own: an account loads no file of a name twice into a table
    file = folder / f"{folder.name}.parquet"
    with duckdb.connect() as connection:
        connection.execute(
            "copy (select * exclude (file_row_number) "
            "replace (coalesce(line_number, file_row_number + 1) as line_number), "
            f"{literal(segment)} as segment from read_parquet({literal(str(path))}, "
            f"file_row_number = true, hive_partitioning = false)) to {literal(str(file))}"
        )
    stage = f"{LANDING}.segments/dropped"
    copy = statement(home.settings, "create pipe").replace(
        f"{LANDING}.arriving_segments", f"{stage}/{file.name}"
    )
    by_name = f"file_format = (format_name = '{LANDING}.segment_format')"
    assert by_name in copy
    with open_snowflake(home.settings, "loader") as connection:
        put = f"put {literal(file.as_uri())} @{stage} auto_compress = false overwrite = true"
        fetch(connection, put)
        fetch(connection, copy.replace(by_name, FILE_FORMAT))
        fetch(connection, f"remove @{stage}")
        run_task(home)


def run_task(home: Home) -> None:
    """Let the task read all records, as if its stream had just begun."""
    insert = statement(home.settings, "create task")
    assert f"from {LANDING}.arrived_records" in insert
    with open_snowflake(home.settings, "loader") as connection:
        fetch(connection, insert.replace(f"{LANDING}.arrived_records", f"{LANDING}.records"))


def ask(home: Home, query: str) -> list[tuple[object, ...]]:
    with open_snowflake(home.settings, "loader") as connection:
        return fetch(connection, query)


def counted(home: Home) -> list[tuple[object, ...]]:
    """Return the segments that count, with what the manifest and the records say of each."""
    return ask(
        home,
        "select manifest.segment, manifest.records, count(records.segment), "
        f"max(manifest.stamp) = 'snowpipe' from {LANDING}.manifest as manifest "
        f"left join {LANDING}.records as records on manifest.segment = records.segment "
        "group by manifest.segment, manifest.records order by 1",
    )


def test_a_dropped_segment_has_its_rows_and_its_place_in_the_manifest(
    home: Home, tmp_path: Path
) -> None:
    segment = own_segment(home)
    drop(home, segment, tmp_path)
    query = f"select natural_key, rejection_reason from {LANDING}.records order by line_number"
    assert ask(home, query) == [("a1", None), (None, "broken_json")]
    ((*row, sources),) = ask(
        home,
        "select segment, source, entity, stamp, records, rejected, uploaded_at is null, "
        f"source_files from {LANDING}.manifest",
    )
    assert row == [segment, "catalog", "items", "snowpipe", 2, 1, False]
    assert json.loads(str(sources)) == ["catalog/items/a.ndjson"]
    run_task(home)
    assert counted(home) == [(segment, 2, 2, True)]


def test_what_was_uploaded_does_not_count_again(home: Home, tmp_path: Path) -> None:
    upload(home.settings, now)
    uploaded = own_segment(home)
    assert counted(home) == [(uploaded, 2, 2, False)]
    drop(home, own_segment(home, OTHER_HOUR), tmp_path)
    assert counted(home) == [(uploaded, 2, 2, False)]


@pytest.mark.parametrize("hour", [HOUR, OTHER_HOUR])
def test_an_upload_takes_the_place_of_the_same_content(
    home: Home, tmp_path: Path, hour: str
) -> None:
    drop(home, own_segment(home, hour), tmp_path)
    assert upload(home.settings, now) == UploadSummary(segments=1, records=2)
    assert counted(home) == [(own_segment(home), 2, 2, False)]
    assert upload(home.settings, now) == UploadSummary()
    assert ask(home, f"select count(*) from {LANDING}.records") == [(2,)]


def test_a_build_waits_for_no_audit_of_it_but_keeps_out_what_is_held(
    home: Home, tmp_path: Path
) -> None:
    segment = own_segment(home)
    drop(home, segment, tmp_path)
    assert verdicts(home) == [(segment, "accepted")]
    with open_snowflake(home.settings, "loader") as connection:
        held = f"'{segment}', 'held', '2024-06-01 00:00:00', 'too few', '1'"
        fetch(connection, f"insert into {LANDING}.verdicts values ({held})")
    assert verdicts(home) == [(segment, "held")]


def verdicts(home: Home) -> list[tuple[object, ...]]:
    """Return the verdicts that a build goes by."""
    macro = (PROJECT_ROOT / "macros" / "found_segments_sql.sql").read_text(encoding="utf-8")
    on_snowflake = macro.partition("snowflake__found_segments_sql")[2]
    query = on_snowflake.partition("verdicts_found as\n")[2].partition(";")[0]
    return ask(home, query)


def test_what_upload_has_sent_waits_for_its_audit(home: Home) -> None:
    upload(home.settings, now)
    assert PurePosixPath(own_segment(home)).name in str(counted(home))
    assert verdicts(home) == []
