"""Plant canaries in every personal field and file name, run everything, and search for them."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from dbt_client import REMEMBER, SCORES, WITHOUT_TESTS, Dbt
from warehouse_homes import run_larder, settings_of

from larder.keys import person_hash, read_key
from larder.settings import Settings
from larder.warehouse import open_published
from loaders.entities import DOMAINS, Entity, Field, read_entities
from loaders.vault import open_vault

WORD = "zqcanary"
BIRTH_DATE = "1931-02-27"
WHEN = "2019-04-30T09:00:00Z"
# the layers that may know a person, which are never published
NOT_SEARCHED = ("landing", "raw", "vault", "build.duckdb", "truth")
KNOWN = {
    "kind": "fridge",
    "time_zone": "America/New_York",
    "region": "Hudson",
    "location_id": "location-1",
    "item_id": "item-1",
    "purpose": "targeting",
    "rating": 5,
    "quantity": 1,
    "status": "picked_up",
    "centre": [-73.9, 40.7],
}


def canary(entity: Entity, field: Field) -> str:
    """Return the word that is planted in a field."""
    return f"{WORD}{entity.source}{entity.name}{field.name}".replace("_", "").lower()


def value_of(entity: Entity, field: Field) -> object:
    """Return a good value; a canary where the field is about a person."""
    if field.person or field.personal:
        word = canary(entity, field)
        if field.type == "date":
            return BIRTH_DATE
        return {"text": word, "list": [word], "object": [{"text": word}]}[field.type]
    if field.name in KNOWN and not (field.name == "kind" and entity.path != "catalog/locations"):
        return KNOWN[field.name]
    if field.accepted:
        return field.accepted[0]
    return {
        "text": f"{field.name}-1",
        "timestamp": WHEN,
        "date": "2019-05-02",
        "integer": 1,
        "number": 1,
        "boolean": False,
        "list": ["mon"],
        "object": {},
    }[field.type]


def record_of(entity: Entity) -> dict[str, Any]:
    """Return a record of an entity with a canary in every field about a person."""
    if entity.path == "trips/trip_events":

        def planted(field: str) -> str:
            return canary(entity, entity.field(field))

        return {
            "created_at": WHEN,
            "type": "user.updated_trip",
            # without an id of its own: what stands for one must not tell who drove
            "_id": planted("driver_id"),
            "MMUserId": planted("account_id"),
            "trip": {"_id": "trip-1", "MMUserId": planted("trip_account_id")},
        }
    record = {field.name: value_of(entity, field) for field in entity.fields}
    if entity.source == "clinic":
        record["meta"] = {"lastUpdated": WHEN}
        record["subject"] = {"reference": f"Patient/{WORD}patient"}
    return record


def plant(settings: Settings) -> None:
    """Write one file of each entity: good records and two that are rejected."""
    for entity in read_entities().values():
        good = record_of(entity)
        required = next(field for field in entity.fields if field.type == "timestamp")
        bad = {
            name: value for name, value in good.items() if name not in (required.name, "meta")
        } | {"created_at": f"{WORD}nottime", "_id": f"{WORD}rejected"}
        folder = settings.landing_folder / entity.path
        folder.mkdir(parents=True)
        lines = [json.dumps(good), json.dumps(bad), f'{{"broken": "{WORD}broken']
        if entity.key_falls_back_to_content:
            # named by its content: no key of ours may be made of a hash of people
            lines.append(json.dumps({k: v for k, v in good.items() if k not in entity.key}))
        text = "\n".join(lines) + "\n"
        (folder / f"{WORD}file.ndjson").write_text(text, encoding="utf-8")
    unknown = settings.landing_folder / f"{WORD}source" / "things"
    unknown.mkdir(parents=True)
    (unknown / "file.ndjson").write_text("{}\n", encoding="utf-8")


def run(settings: Settings, *arguments: str) -> None:
    """Run the program and keep what it says beside the files that are searched."""
    finished = run_larder(settings.home, *arguments)
    with (settings.home / "terminal.txt").open("a", encoding="utf-8") as terminal:
        terminal.write(f"$ larder {' '.join(arguments)}\n{finished.stdout}{finished.stderr}")


@pytest.fixture(scope="module")
def planted(dbt: Dbt, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A warehouse that has been through everything with canaries in it."""
    settings: Settings = settings_of(tmp_path_factory.mktemp("canaries") / "warehouse")
    plant(settings)
    run(settings, "load")
    first = dbt.run(
        settings.home, "build", "--select", REMEMBER, "--exclude", SCORES, *WITHOUT_TESTS
    )
    assert first.success, (first.message, first.problems)
    # the second build is incremental: it names the segments that are new
    event = record_of(read_entities()["fridge/stock_events"]) | {"event_id": "event-2"}
    later = settings.landing_folder / "fridge" / "stock_events" / f"{WORD}later.ndjson"
    later.write_text(json.dumps(event) + "\n", encoding="utf-8")
    run(settings, "run")
    run(settings, "query", "select * from dim_customers")
    return settings


def words(settings: Settings) -> Iterator[tuple[str, bytes]]:
    """Yield what must not be found: the canaries, their hashes, and the HMACs of the persons."""
    yield "canary", WORD.encode()
    yield "birth date", BIRTH_DATE.encode()
    key = read_key(settings.key_file)
    for entity in read_entities().values():
        for field in entity.fields:
            if not (field.person or field.personal) or field.type == "date":
                continue
            plain = canary(entity, field)
            for name in ("md5", "sha1", "sha256"):
                digest = hashlib.new(name, plain.encode(), usedforsecurity=False)
                yield f"{name} of {field.name}", digest.hexdigest().encode()
            if field.person:
                hashed = person_hash(key, plain)
                yield f"HMAC of {field.name}", hashed.hex().encode()
                yield f"HMAC of {field.name}", hashed
                yield f"HMAC of {field.name}", base64.b64encode(hashed)


def test_the_canaries_are_in_raw(planted: Settings) -> None:
    """Else the search would find nothing because there is nothing."""
    with duckdb.connect() as connection:
        (row,) = connection.execute(
            "select count(*) filter (rejection_reason is null and contains(payload, ?)), "
            "count(*) filter (rejection_reason is not null and contains(payload, ?)) "
            f"from read_parquet('{planted.raw_folder}/*/*/*/*.parquet', union_by_name = true)",
            [WORD, WORD],
        ).fetchall()
    assert row[0] >= 9
    assert row[1] >= 9


def test_no_file_that_others_read_holds_a_canary(planted: Settings) -> None:
    needles = list(words(planted))
    found = []
    searched = 0
    for file in sorted(planted.home.rglob("*")):
        relative = file.relative_to(planted.home)
        if not file.is_file() or relative.parts[0].startswith(NOT_SEARCHED):
            continue
        content = file.read_bytes()
        if file.suffix == ".gz":
            content = gzip.decompress(content)
        searched += 1
        content = f"{relative}\n".encode() + content
        found += [f"{relative}: {what}" for what, needle in needles if needle in content]
    assert searched > 20
    said = (planted.home / "terminal.txt").read_text(encoding="utf-8")
    for step in ("$ larder run", "documentation  ", "records", "customer_key"):
        assert step in said, said
    assert not found, "\n".join(found[:20])


def dump(connection: duckdb.DuckDBPyConnection, schemas: tuple[str, ...]) -> Iterator[
    tuple[str, bytes]
]:  # fmt: skip
    """Yield each table of the schemas as text."""
    tables = connection.execute(
        "select table_schema, table_name from information_schema.tables "
        "where table_schema in (select unnest(?))",
        [list(schemas)],
    ).fetchall()
    for schema, table in tables:
        rows = connection.execute(f'select * from "{schema}"."{table}"').fetchall()
        yield f"{schema}.{table}", "\n".join(str(row) for row in rows).encode()


def record_hashes(planted: Settings) -> list[tuple[str, bytes]]:
    """Return the hashes of records of persons: who guesses a record could check the guess."""
    with duckdb.connect() as connection:
        hashes = connection.execute(
            "select distinct unnest([content_hash, natural_key]) from read_parquet("
            f"'{planted.raw_folder}/*/*/*/*.parquet', union_by_name = true) "
            "where contains(payload, ?) and length(content_hash) > 20",
            [WORD],
        ).fetchall()
    return [
        ("hash of a record", value.encode()) for (value,) in hashes if value and len(value) > 20
    ]


def test_no_published_row_holds_a_canary(planted: Settings) -> None:
    with open_published(planted) as connection:
        tables = dict(dump(connection, ("marts", "main")))
    assert "marts.dim_customers" in tables
    needles = [*words(planted), *record_hashes(planted)]
    found = [
        f"{table}: {what}"
        for table, content in tables.items()
        for what, needle in needles
        if needle in content
    ]
    assert not found, "\n".join(found)


def test_drivers_and_accounts_are_published_as_tokens(planted: Settings) -> None:
    with open_published(planted) as connection:
        ((event_id, *keys),) = connection.execute(
            "select event_id, driver_key, account_key, trip_account_key from fct_trip_events"
        ).fetchall()
    with open_vault(planted) as vault:
        entity = read_entities()["trips/trip_events"]
        people = [canary(entity, field) for field in entity.persons]
        assert keys == vault.tokens("driver", people)
    assert len({event_id, *keys}) == 4


def test_nothing_after_staging_holds_a_canary(planted: Settings) -> None:
    schemas = ("anonymised", "intermediate", "marts", "snapshots", "seeds")
    with duckdb.connect(str(planted.build_database), read_only=True) as connection:
        tables = dict(dump(connection, schemas))
    needles, hashes = list(words(planted)), record_hashes(planted)
    found = [
        f"{table}: {what}"
        for table, content in tables.items()
        # the anonymised layer still has to tell copies of a record apart
        for what, needle in needles + (hashes if not table.startswith("anonymised.") else [])
        if needle in content
    ]
    assert not found, "\n".join(found)
    assert hashes


def test_the_domains_of_a_person_cannot_be_joined(planted: Settings) -> None:
    with open_vault(planted) as vault:
        tokens = [vault.tokens(domain, [f"{WORD}person"])[0] for domain in DOMAINS]
    assert len(set(tokens)) == len(DOMAINS)
    assert all(token and WORD not in token for token in tokens)


def test_the_vault_is_shut_to_others(planted: Settings) -> None:
    assert planted.vault_folder.stat().st_mode & 0o777 == 0o700
    content = b"".join(
        file.read_bytes() for file in Path(planted.vault_folder).rglob("*") if file.is_file()
    )
    assert WORD.encode() not in content
    assert read_key(planted.key_file) not in content
