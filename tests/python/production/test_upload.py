"""Raw on Snowflake: each segment once, whatever is killed, refused or lost."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from conftest import Account

from larder import snowflake
from larder.errors import LarderError, SettingsError, WarehouseError
from larder.settings import Settings
from larder.snowflake import LANDING, fetch, open_snowflake
from loaders import upload as uploading
from loaders.audit import audit
from loaders.ledger import find_segments
from loaders.load import load
from loaders.upload import UploadSummary, upload


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def settings(account: Account, tmp_path: Path) -> Settings:
    """A home of its own, on an account without any records."""
    found: Settings = account.settings(tmp_path / "home", tmp_path / "home.key")
    account.forget_records(found)
    return found


def land(settings: Settings, name: str, *items: str) -> None:
    """Let a file of items land, and load it."""
    folder = settings.landing_folder / "catalog" / "items"
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps(
            {
                "item_id": item,
                "item_name": f"It's 'quoted' {item}",
                "category": "soup",
                "price_usd": 5,
                "unit_cost_usd": 2,
                "shelf_life_days": 3,
                "updated_at": "2024-01-01T00:00:00Z",
            }
        )
        for item in items
    ]
    (folder / name).write_text("\n".join([*lines, "{broken"]) + "\n", encoding="utf-8")
    load(settings, now)


def ask(settings: Settings, query: str) -> list[tuple[object, ...]]:
    with open_snowflake(settings, "loader") as connection:
        return fetch(connection, query)


def keys(settings: Settings) -> list[str]:
    """Return the keys of all good records, in order."""
    query = f"select natural_key from {LANDING}.records where natural_key is not null order by 1"
    return [str(key) for (key,) in ask(settings, query)]


def test_rows_are_those_of_the_segments(settings: Settings) -> None:
    land(settings, "a.ndjson", "a1", "a2")
    land(settings, "b.ndjson", "b1")
    assert upload(settings, now) == UploadSummary(segments=2, records=5)
    assert keys(settings) == ["a1", "a2", "b1"]
    rows = ask(
        settings,
        "select source_file, line_number, rejection_reason, payload like '%It''s ''quoted''%', "
        f"segment like 'catalog/items/process_hour=%' from {LANDING}.records order by 1, 2",
    )
    assert rows == [
        ("catalog/items/a.ndjson", 1, None, True, True),
        ("catalog/items/a.ndjson", 2, None, True, True),
        ("catalog/items/a.ndjson", 3, "broken_json", False, True),
        ("catalog/items/b.ndjson", 1, None, True, True),
        ("catalog/items/b.ndjson", 2, "broken_json", False, True),
    ]
    manifest = f"select source, entity, records, rejected, source_files from {LANDING}.manifest"
    assert sorted(ask(settings, manifest)) == [
        ("catalog", "items", 2, 1, '["catalog/items/b.ndjson"]'),
        ("catalog", "items", 3, 1, '["catalog/items/a.ndjson"]'),
    ]


def test_nothing_is_sent_twice(settings: Settings) -> None:
    land(settings, "a.ndjson", "a1")
    upload(settings, now)
    assert upload(settings, now) == UploadSummary()
    land(settings, "b.ndjson", "b1")
    assert upload(settings, now).segments == 1
    assert keys(settings) == ["a1", "b1"]


def test_batches_are_small(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploading, "SEGMENTS_AT_ONCE", 2)
    for name in "abcde":
        land(settings, f"{name}.ndjson", name)
    seen: list[tuple[str, int, int]] = []
    upload(settings, now, lambda *progress: seen.append(progress))
    assert seen == [("segments", 2, 5), ("segments", 4, 5), ("segments", 5, 5)]
    assert keys(settings) == list("abcde")


def test_a_rewritten_segment_takes_the_place_of_the_old(settings: Settings) -> None:
    land(settings, "a.ndjson", "a1")
    land(settings, "b.ndjson", "b1")
    upload(settings, now)
    first, second = sorted(find_segments(settings.raw_folder))
    first.write_bytes(second.read_bytes())  # as an erasure does, under the same name
    assert upload(settings, now).segments == 1
    assert len(set(keys(settings))) == 1
    assert len(keys(settings)) == 2


def test_newer_verdicts_are_sent_too(settings: Settings) -> None:
    land(settings, "a.ndjson", "a1")
    audit(settings, now)
    assert upload(settings, now).verdicts == 1
    assert upload(settings, now).verdicts == 0
    land(settings, "b.ndjson", "b1")
    audit(settings, now)
    assert upload(settings, now).verdicts == 1
    assert len(ask(settings, f"select segment from {LANDING}.verdicts")) == 2


@pytest.mark.parametrize(
    "match",
    ["^put", r"^copy into \S+records", r"^copy into \S+manifest", "^commit", "^begin", "^remove"],
)
def test_a_refused_step_leaves_nothing_half_done(
    settings: Settings, account: Account, match: str
) -> None:
    land(settings, "a.ndjson", "a1", "a2")
    refusal = {"code": 90073, "message": "Warehouse 'LARDER_LOADING' cannot be resumed"}
    with (
        account.fault(match, **refusal),
        pytest.raises(WarehouseError, match="quota of larder_credits"),
    ):
        upload(settings, now)
    assert upload(settings, now) == UploadSummary(segments=1, records=3)
    assert keys(settings) == ["a1", "a2"]


def test_an_emptied_stage_is_no_upload(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    land(settings, "a.ndjson", "a1", "a2")

    def fetch_elsewhere(connection: Any, sql: str, *values: object) -> list[Any]:
        # COPY takes a file that is not there for nothing to do
        put_elsewhere = sql.replace("landing.segments/", "landing.segments/elsewhere/")
        return fetch(connection, put_elsewhere if sql.startswith("put") else sql, *values)

    with monkeypatch.context() as patch:
        patch.setattr("loaders.staging.fetch", fetch_elsewhere)
        with pytest.raises(WarehouseError, match="0 of 3 rows"):
            upload(settings, now)
    assert keys(settings) == []
    assert upload(settings, now).segments == 1
    assert keys(settings) == ["a1", "a2"]


def test_a_lost_network_is_one_line_and_the_next_upload_goes_on(
    settings: Settings, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snowflake, "NETWORK_SECONDS", 2)
    land(settings, "a.ndjson", "a1", "a2")
    with account.fault("^copy into"), pytest.raises(WarehouseError, match="network") as caught:
        upload(settings, now)
    assert "\n" not in str(caught.value)
    assert upload(settings, now).segments == 1
    assert keys(settings) == ["a1", "a2"]


@pytest.mark.parametrize(
    ("match", "is_there"),
    [("^commit", True), (r"^copy into \S+records", False), (r"^copy into \S+manifest", False)],
)
def test_a_lost_answer_doubles_nothing(
    settings: Settings,
    account: Account,
    monkeypatch: pytest.MonkeyPatch,
    match: str,
    is_there: bool,
) -> None:
    monkeypatch.setattr(snowflake, "NETWORK_SECONDS", 2)
    land(settings, "a.ndjson", "a1")
    upload(settings, now)  # the key, whose commit is none of records, goes once
    land(settings, "b.ndjson", "b1", "b2")
    with account.fault(match, after=True), pytest.raises(WarehouseError, match="network"):
        upload(settings, now)
    assert keys(settings) == (["a1", "b1", "b2"] if is_there else ["a1"])
    assert upload(settings, now).segments == (0 if is_there else 1)
    assert keys(settings) == ["a1", "b1", "b2"]
    assert len(ask(settings, f"select segment from {LANDING}.manifest")) == 2
    assert upload(settings, now) == UploadSummary()


@pytest.mark.parametrize("match", ["^commit", r"^copy into \S+verdicts"])
def test_a_lost_answer_doubles_no_verdict(
    settings: Settings, account: Account, monkeypatch: pytest.MonkeyPatch, match: str
) -> None:
    monkeypatch.setattr(snowflake, "NETWORK_SECONDS", 2)
    land(settings, "a.ndjson", "a1")
    upload(settings, now)
    audit(settings, now)
    with account.fault(match, after=True), pytest.raises(WarehouseError, match="network"):
        upload(settings, now)
    is_there = match == "^commit"
    verdicts = f"select segment from {LANDING}.verdicts"
    assert len(ask(settings, verdicts)) == is_there
    assert upload(settings, now).verdicts == (not is_there)
    assert len(ask(settings, verdicts)) == 1


@pytest.mark.parametrize(
    ("match", "code", "message", "named"),
    [
        ("login", 390144, "JWT token is invalid.", "LARDER_SNOWFLAKE_PRIVATE_KEY_PATH"),
        ("login", 390100, "Incorrect username or password.", "LARDER_SNOWFLAKE_USER"),
        ("login", 390189, "Role 'LARDER_LOADER' is not granted to this user.", "larder deploy"),
        ("login", 390201, "The requested warehouse does not exist.", "larder deploy"),
        ("^select", 3001, "Insufficient privileges to operate on 'RECORDS'", "larder deploy"),
        ("^select", 2003, "Schema 'LARDER_RAW.LANDING' does not exist.", "larder deploy"),
        ("^select", 606, "No active warehouse selected in the session.", "larder deploy"),
        ("^select", 290503, "HTTP 503: Service Unavailable", "Snowflake is down"),
    ],
)
def test_a_refusal_names_the_setting_or_the_remedy(
    settings: Settings, account: Account, match: str, code: int, message: str, named: str
) -> None:
    with (
        account.fault(match, code=code, message=message),
        pytest.raises(WarehouseError, match=named) as caught,
    ):
        ask(settings, "select 1")
    assert message.rstrip(".") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_account_is_said(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snowflake, "LOGIN_SECONDS", 2)
    nowhere = settings.model_copy(update={"snowflake_port": 1})
    with pytest.raises(WarehouseError, match="LARDER_SNOWFLAKE_ACCOUNT"):
        ask(nowhere, "select 1")


@pytest.mark.parametrize("name", ["account", "user", "private_key_path"])
def test_a_missing_setting_is_named(settings: Settings, name: str) -> None:
    without = settings.model_copy(update={f"snowflake_{name}": None})
    with pytest.raises(SettingsError, match=f"LARDER_SNOWFLAKE_{name.upper()}"):
        ask(without, "select 1")


@pytest.mark.parametrize("content", [None, "no key"])
def test_an_unusable_key_is_named(settings: Settings, tmp_path: Path, content: str | None) -> None:
    key = tmp_path / "key.p8"
    if content:
        key.write_text(content)
    wrong = settings.model_copy(update={"snowflake_private_key_path": key})
    with pytest.raises(LarderError, match="LARDER_SNOWFLAKE_PRIVATE_KEY_PATH"):
        ask(wrong, "select 1")
