from __future__ import annotations

import csv
import gzip
import io
import json
import os
from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from landing_zone import ARRIVED, Home, decide, event, line, now

from larder.build import REFRESH, ask_for_full_refresh, target_folder
from larder.build import build as build_all
from larder.errors import BuildError, LandingError
from larder.settings import Settings
from loaders.compaction import LEAST_PARTS, compact
from loaders.dead_letters import dead_letters
from loaders.erasing import Erasure, erase
from loaders.landing import find_files, sha256_of
from loaders.vault import open_vault

GONE, STAYS = "C-000017", "C-000018"
EMAIL, NAME, PHONE = "zoe.quiller@example.org", "Zoë Quiller-Brandt", "+1 202 555 0171"


def customer(customer_id: str, **changes: Any) -> dict[str, Any]:
    return {
        "customer_id": customer_id,
        "full_name": f"Somebody {customer_id}",
        "email": f"{customer_id}@example.org",
        "phone": None,
        "birth_date": "1980-02-03",
        "registered_at": "2024-01-01T00:00:00Z",
        "updated_at": "2024-01-01T00:00:00Z",
    } | changes


def order(number: int, customer_id: str | None) -> dict[str, Any]:
    return {
        "order_id": f"o{number}",
        "line_number": 1,
        "ordered_at": "2024-05-01T00:00:00Z",
        "location_id": "L1",
        "item_id": "I1",
        "quantity": 1,
        "unit_price_usd": 5,
        "customer_id": customer_id,
        "status": "picked_up",
        "updated_at": "2024-05-01T00:00:00Z",
    }


def as_csv(records: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]))
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue().encode()


def write_everything(home: Home) -> None:
    theirs = customer(GONE, full_name=NAME, email=EMAIL, phone=PHONE)
    home.land("accounts/customers/a.csv", as_csv([customer(STAYS), theirs]))
    home.land(
        "accounts/customers/b.json",
        json.dumps([theirs | {"updated_at": "2024-02-01"}, customer("C-3")], indent=1).encode(),
    )
    home.land(
        "accounts/customers/broken.ndjson",
        line({"full_name": NAME, "email": EMAIL})
        + f'{{"customer_id": "{GONE}", "ema'.encode()
        + b"\n"
        + line(customer("C-5", registered_at="never")),
    )
    home.land("accounts/customers/alone.ndjson", line(theirs | {"updated_at": "2024-03-01"}))
    consent = {"purpose": "targeting", "is_granted": True, "updated_at": "2024-01-01"}
    home.land(
        "accounts/consents/a.ndjson.gz",
        gzip.compress(
            line(consent | {"customer_id": GONE}) + line(consent | {"customer_id": STAYS})
        ),
    )
    home.land(
        "fridge/stock_events/a.ndjson.zst",
        pa.compress(
            line(event(1, customer_id=GONE)) + line(event(2, customer_id=STAYS)) + line(event(3)),
            "zstd",
            asbytes=True,
        ),
    )
    target = home.settings.landing_folder / "orders/order_lines/a.parquet"
    target.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist([order(1, GONE), order(2, STAYS)]), target)
    patient = {"resourceType": "Patient", "meta": {"lastUpdated": "2024-01-01T00:00:00Z"}}
    identifier = [{"system": "urn:larder:customer", "value": GONE}]
    home.land(
        "clinic/patients/a.ndjson",
        line(patient | {"id": "patient-0017", "identifier": identifier})
        + line(patient | {"id": "patient-0018"}),
    )
    observation = {"meta": {"lastUpdated": "2024-01-01T00:00:00Z"}}
    home.land(
        "clinic/observations/a.ndjson",
        line(observation | {"id": "ob1", "subject": {"reference": "Patient/patient-0017"}})
        + line(observation | {"id": "ob2", "subject": {"reference": "Patient/patient-0018"}}),
    )


def build(home: Home, token: str) -> None:
    with duckdb.connect(str(home.settings.build_database)) as connection:
        connection.execute("create schema marts")
        connection.execute(
            "create table marts.dim_customers (customer_key varchar not null, age_group varchar)"
        )
        connection.execute("create table marts.fct_sales (sale_key int, customer_key varchar)")
        connection.execute("comment on table marts.fct_sales is 'one row per sale'")
        for key in (token, "f" * 32):
            connection.execute("insert into marts.dim_customers values ($1, '30-39')", [key])
            connection.execute("insert into marts.fct_sales values (1, $1)", [key])
    generation = home.settings.generations_folder / "one" / "larder.duckdb"
    generation.parent.mkdir(parents=True)
    generation.write_bytes(home.settings.build_database.read_bytes())


@pytest.fixture
def token(home: Home) -> str:
    write_everything(home)
    home.load()
    with open_vault(home.settings) as vault:
        (token,) = vault.known_tokens(GONE, ["commerce"])
    build(home, token)
    truth = home.settings.truth_folder / "tastes.parquet"
    truth.parent.mkdir(parents=True)
    pq.write_table(pa.table({"customer_id": [GONE, STAYS]}), truth)
    return token


def contents(home: Home) -> set[str]:
    """Return the hashes of the landing files."""
    return {sha256_of(file.path) for file in find_files(home.settings.landing_folder)}


def everything(home: Home) -> bytes:
    """Return the content of all files, decompressed, but for the vault's."""
    found = b""
    for path in home.settings.home.rglob("*"):
        if not path.is_file() or path.parent == home.settings.vault_folder:
            continue
        data = path.read_bytes()
        found += data
        if path.suffix == ".gz":
            found += gzip.decompress(data)
        elif path.suffix == ".zst":
            with pa.CompressedInputStream(pa.OSFile(str(path)), "zstd") as stream:
                found += stream.read()
        elif path.suffix == ".parquet":
            found += json.dumps(
                pq.read_table(path).to_pylist(), default=str, ensure_ascii=False
            ).encode()
    return found


def test_nothing_of_the_person_is_left_and_all_others_are(home: Home, token: str) -> None:
    report = erase(home.settings, GONE, now)

    assert report.was_known
    assert (report.traces, report.unsearchable) == ([], [])
    assert report.tokens == 2
    with open_vault(home.settings) as vault:
        hashed = vault.hashes([GONE])[0]
    left = everything(home)
    for trace in (GONE, EMAIL, NAME, PHONE, "patient-0017", token, hashed.hex()):
        assert trace.encode() not in left
    assert hashed not in left
    assert token.encode() not in (home.settings.vault_folder / "vault.sqlite").read_bytes()
    assert home.keys("accounts/customers") == ["C-000018", "C-3"]
    assert home.keys("accounts/consents") == [f"{STAYS}|targeting"]
    assert home.keys("clinic/*") == ["ob2", "patient-0018"]
    assert home.rejections("accounts/customers") == [(3, "invalid_value")]


@pytest.mark.usefixtures("token")
def test_no_hash_of_what_held_the_person_is_left(home: Home) -> None:
    before = contents(home)
    taken_away = home.settings.landing_folder / "accounts/customers/alone.ndjson"
    taken_away.unlink()
    assert all(content.encode() in everything(home) for content in before)

    erase(home.settings, GONE, now)

    assert len(before - contents(home)) == 9
    gone = before - contents(home)
    assert not any(content.encode() in everything(home) for content in gone)
    names = " ".join(str(path) for path in home.settings.raw_folder.rglob("*.parquet"))
    assert not any(content[:12] in names for content in gone)


@pytest.mark.usefixtures("token")
@pytest.mark.parametrize("is_taken_away", [False, True])
def test_what_held_the_person_is_a_changed_file_when_it_is_delivered_again(
    home: Home, is_taken_away: bool
) -> None:
    name = "accounts/customers/alone.ndjson"
    path = home.settings.landing_folder / name
    content = path.read_bytes()
    if is_taken_away:
        path.unlink()
    erase(home.settings, GONE, now)
    keys, rejections = home.keys(), home.rejections()

    path.unlink(missing_ok=True)
    home.land(name, content)  # with its old time of change, too
    assert home.load().entities["accounts/customers"].rejected == 1
    assert home.keys() == keys
    assert home.query("select payload from records where rejection_reason = 'changed_file'") == [
        ("",)
    ]

    assert erase(home.settings, GONE, now).traces == []
    assert sha256(content).hexdigest().encode() not in everything(home)
    assert home.load().files == 0
    assert len(home.rejections()) == len(rejections) + 1


@pytest.mark.usefixtures("token")
def test_events_and_orders_stay_without_the_person(home: Home) -> None:
    erase(home.settings, GONE, now)

    rows = home.query(
        "select natural_key, commerce_token is null, payload->>'customer_id', content_hash "
        "from records order by natural_key",
        "fridge/stock_events",
    )
    assert [row[:3] for row in rows] == [
        ("e1", True, None),
        ("e2", False, STAYS),
        ("e3", True, None),
    ]
    assert home.keys("orders/order_lines") == ["o1|1", "o2|1"]
    (landed,) = (home.settings.landing_folder / "orders/order_lines").iterdir()
    assert pq.read_table(landed)["customer_id"].to_pylist() == [None, STAYS]


@pytest.mark.usefixtures("token")
def test_rewritten_files_are_not_loaded_again_and_a_fresh_load_agrees(
    home: Home, tmp_path: Path
) -> None:
    erase(home.settings, GONE, now)

    assert home.load().files == 0
    (home.settings.raw_folder / "_ledger.json").unlink()
    assert home.load().files == 0
    content = "select natural_key, content_hash from records where payload is not null order by all"
    before = home.query(content)
    home.settings.raw_folder.rename(tmp_path / "old")
    home.load()
    assert home.query(content) == before


HASHES = "select natural_key as event_id, commerce_token as customer_key, content_hash from records"


def build_records(home: Home) -> None:
    """Build a table with the hashes of all good records, each once."""
    rows = home.query(f"{HASHES} where rejection_reason is null group by all")
    with duckdb.connect(str(home.settings.build_database)) as connection:
        connection.execute("create schema anonymised")
        connection.execute(
            "create table anonymised.records "
            "(event_id varchar, customer_key varchar, content_hash varchar not null)"
        )
        connection.executemany("insert into anonymised.records values ($1, $2, $3)", rows)


def built_records(home: Home) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(home.settings.build_database)) as connection:
        return connection.execute("from anonymised.records order by all").fetchall()


def test_databases_have_the_hashes_of_what_is_left(home: Home) -> None:
    home.land(
        "fridge/stock_events/a.ndjson",
        line(event(1, customer_id=GONE)) + line(event(2, customer_id=STAYS)) + line(event(3)),
    )
    home.load()
    build_records(home)

    erase(home.settings, GONE, now)

    left = built_records(home)
    assert left == home.query(f"{HASHES} order by all")
    assert left[0][:2] == ("e1", None)


COPIES = {
    "alone": ([event(1, customer_id=GONE), event(2)], False),
    "delivered twice": ([event(1, customer_id=GONE)] * 2, False),
    "contested": ([event(1, customer_id=GONE), event(1, quantity=2)], True),
    "the same without the person": ([event(1, customer_id=GONE), event(1)], True),
    "by others": ([event(1, customer_id=GONE), event(2), event(2, quantity=2)], False),
    "versions": ([order(1, GONE), order(1, GONE) | {"updated_at": "2024-05-02"}], False),
    "contested version": ([order(1, GONE), order(1, GONE) | {"quantity": 2}], True),
}


@pytest.mark.parametrize(("copies", "is_asked"), COPIES.values(), ids=COPIES)
def test_a_contested_record_asks_the_next_build_for_a_full_refresh(
    home: Home, copies: list[dict[str, Any]], is_asked: bool
) -> None:
    entity = "fridge/stock_events" if "event_id" in copies[0] else "orders/order_lines"
    home.land(f"{entity}/a.ndjson", b"".join(map(line, copies)))
    home.load()
    build_records(home)
    before = {content_hash for key, person, content_hash in built_records(home) if person}

    erase(home.settings, GONE, now)

    assert (home.settings.home / REFRESH).exists() == is_asked
    assert before.isdisjoint(content_hash for *_, content_hash in built_records(home))


def test_an_erasure_that_has_forgotten_hashes_asks_for_a_full_refresh(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.land("fridge/stock_events/a.ndjson", line(event(1, customer_id=GONE)))
    home.load()
    build_records(home)
    with monkeypatch.context() as patch:
        die_at(patch, DATABASE, 1)
        with pytest.raises(KeyboardInterrupt):
            erase(home.settings, GONE, now)
    assert not (home.settings.home / REFRESH).exists()

    erase(home.settings, GONE, now)

    assert (home.settings.home / REFRESH).exists()


def test_builds_refresh_everything_until_one_succeeds(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def run(settings: Settings, arguments: list[str], *_: object, **_more: str) -> None:
        asked.append(arguments)
        if len(asked) == 1:
            raise BuildError("only asked")
        target = target_folder(settings, "build")
        target.mkdir(parents=True, exist_ok=True)
        (target / "run_results.json").write_text('{"results": [], "elapsed_time": 0}')

    monkeypatch.setattr("larder.build.run_dbt", run)
    ask_for_full_refresh(home.settings)
    with pytest.raises(BuildError):
        build_all(home.settings)
    build_all(home.settings)
    build_all(home.settings)

    assert asked == [["build", "--full-refresh"]] * 2 + [["build"]]


def test_databases_lose_the_person_but_not_the_sales(home: Home, token: str) -> None:
    report = erase(home.settings, GONE, now)

    assert (report.tables, report.table_rows) == (4, 4)
    for file in (
        home.settings.build_database,
        home.settings.generations_folder / "one" / "larder.duckdb",
    ):
        assert token.encode() not in file.read_bytes()
        with duckdb.connect(str(file), read_only=True) as connection:
            sales = connection.execute("from marts.fct_sales order by all").fetchall()
            people = connection.execute("from marts.dim_customers").fetchall()
            comments = connection.execute("select comment from duckdb_tables()").fetchall()
        assert sales == [(1, "f" * 32), (1, None)]
        assert people == [("f" * 32, "30-39")]
        assert ("one row per sale",) in comments


@pytest.mark.usefixtures("token")
def test_what_arrives_later_is_not_taken_and_goes_with_the_next_erasure(home: Home) -> None:
    erase(home.settings, GONE, now)
    late = home.land(
        "accounts/customers/late.ndjson", line(customer(GONE)) + line(customer("C-000099"))
    )
    home.land("fridge/stock_events/late.ndjson", line(event(9, customer_id=GONE)))
    home.load()

    assert home.keys("accounts/customers") == ["C-000018", "C-000099", "C-3"]
    assert GONE not in str(home.query("select payload, natural_key from records"))
    report = erase(home.settings, GONE, now)
    assert (report.landing_files, report.traces) == (2, [])
    assert GONE.encode() not in late.read_bytes()
    again = erase(home.settings, GONE, now)
    assert (again.landing_files, again.segments, again.tables) == (0, 0, 0)


def die_at(patch: pytest.MonkeyPatch, places: tuple[str, ...], moment: int) -> None:
    """Kill whoever calls the functions at these places, together, for the n-th time."""
    calls = 0

    def dying(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == moment:
                raise KeyboardInterrupt
            return original(*arguments)

        return call

    for place in places:
        module, _, name = place.rpartition(".")
        patch.setattr(place, dying(getattr(import_module(module), name)))


COMMITS = tuple(f"loaders.erasing.{module}.commit" for module in ("segments", "steps", "databases"))
DATABASE = ("loaders.erasing.steps.erase_from_database",)
TRUTH = ("loaders.erasing.truth_files.commit",)
PROOF = ("loaders.erasing.steps.prove",)


@pytest.mark.parametrize(
    ("places", "moment"),
    # the customers' four segments, their four landing files, those segments again, and so on
    [
        *((COMMITS, moment) for moment in (2, 4, 6, 9, 11, 14)),
        (DATABASE, 2),
        (TRUTH, 1),
        (PROOF, 1),
    ],
)
def test_an_erasure_that_was_killed_can_be_run_again(
    home: Home,
    token: str,
    monkeypatch: pytest.MonkeyPatch,
    places: tuple[str, ...],
    moment: int,
) -> None:
    before = contents(home)
    with monkeypatch.context() as patch:
        die_at(patch, places, moment)
        with pytest.raises(KeyboardInterrupt):
            erase(home.settings, GONE, now)
    assert home.load().files == 0
    report = erase(home.settings, GONE, now)
    assert (report.traces, report.unsearchable) == ([], [])
    left = everything(home)
    for trace in (GONE, EMAIL, NAME, "patient-0017", token, *(before - contents(home))):
        assert trace.encode() not in left
    assert home.load().files == 0
    assert home.rejections() == [(3, "invalid_value")]


def test_short_ids_are_looked_for_in_the_fields_of_persons_only(home: Home) -> None:
    home.land(
        "fridge/stock_events/a.ndjson",
        line(event(1, customer_id="7", quantity=7)) + line(event(2, customer_id="77")),
    )
    report = erase(home.settings, "7", now)

    assert report.is_proven
    payloads = [row[0] for row in home.query("select payload from records order by natural_key")]
    assert [json.loads(payload).get("customer_id") for payload in payloads] == [None, "77"]
    assert json.loads(payloads[0])["quantity"] == 7


def test_a_file_with_the_longest_of_names_is_rewritten(home: Home) -> None:
    long = f"fridge/stock_events/{'x' * 248}.ndjson"
    path = home.land(long, line(event(1, customer_id=GONE)))
    report = erase(home.settings, GONE, now)
    assert (report.landing_files, report.traces) == (1, [])
    assert GONE.encode() not in path.read_bytes()


def test_a_file_whose_name_is_not_utf_8_is_not_loaded_again(home: Home) -> None:
    name = os.fsdecode(b"fridge/stock_events/b\xe4ckerei.ndjson")
    home.land(name, line(event(1, customer_id=GONE)) + line(event(2)))
    report = erase(home.settings, GONE, now)
    assert (report.landing_files, report.segments, report.traces) == (1, 1, [])

    assert home.load().files == 0
    assert home.keys() == ["e1", "e2"]
    assert home.rejections() == []


def test_the_same_id_in_another_domain_is_somebody_else(home: Home) -> None:
    menu = {"event_id": "m1", "occurred_at": "2024-05-30T10:00:00Z", "location_id": "L1"}
    home.land("menu/menu_events/a.ndjson", line(menu | {"visitor_id": GONE}))
    erase(home.settings, GONE, now)

    with open_vault(home.settings) as vault:
        assert vault.known_tokens(GONE, ["visitor"])
        assert vault.tokens("commerce", [GONE]) == [None]
    assert home.query("select visitor_token is null from records") == [(False,)]


@pytest.mark.usefixtures("token")
def test_dead_letters_and_report_hold_nothing_of_the_person(home: Home) -> None:
    report = erase(home.settings, GONE, now)

    assert GONE not in str(report)
    assert isinstance(report, Erasure)
    assert not any(GONE in letter.original for letter in dead_letters(home.settings))


def test_an_empty_id_is_refused(home: Home) -> None:
    with pytest.raises(LandingError, match="empty"):
        erase(home.settings, "  ", now)


def test_a_compacted_segment_keeps_the_file_line_and_arrival_of_every_record(home: Home) -> None:
    for number in range(LEAST_PARTS):
        records = [event(2 * number), event(2 * number + 1, customer_id=GONE)]
        home.land(
            f"fridge/stock_events/{number:02}.ndjson",
            b"".join(map(line, records)) + f"{{{GONE}".encode(),
            arrived=ARRIVED + timedelta(minutes=number),
        )
    home.load()
    decide(home, "accepted")
    compact(home.settings, lambda: now() + timedelta(days=2))
    places = (
        "select source_file, line_number, natural_key, received_at from records "
        "where rejection_reason is null order by all"
    )
    before = home.query(places)
    assert len(before) == 2 * LEAST_PARTS

    report = erase(home.settings, GONE, now)

    assert (report.segments, report.traces) == (1, [])
    assert home.query(places) == before
    assert home.rejections() == []
    with_person = "select count(*) from records where commerce_token is not null"
    assert home.query(with_person) == [(0,)]
    assert home.load().files == 0
