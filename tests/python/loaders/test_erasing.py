from __future__ import annotations

import json
import os
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from erased_people import EMAIL, GONE, NAME, PHONE, STAYS, contents, customer, everything
from landing_zone import ARRIVED, Home, decide, event, line, now

from larder.errors import LandingError
from loaders.compaction import LEAST_PARTS, compact
from loaders.dead_letters import dead_letters
from loaders.erasing import Erasure, erase
from loaders.vault import open_vault


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
