"""Guests of menus who ask to be forgotten leave all files, and all that was built of their clicks.

Three people at two devices: one device is of one customer, the other one of two. Clicks without an
id are named by tokens, so their names have to go as well.
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from dbt_client import WITHOUT_TESTS, Dbt
from landing_zone import NOW, Home, line, now
from warehouse_homes import settings_of

from larder.erasure import erase_everywhere
from larder.serving.lake import bring_up_to_date
from larder.serving.publish import publish
from larder.settings import Settings
from loaders.entities import Domain
from loaders.erasing import Erasure
from loaders.vault import open_vault

CUSTOMER, OTHER = "customer-4711", "customer-0815"
DEVICE, SHARED, STRANGE = "device-own-4711", "device-of-two", "device-of-nobody-known"
SELECTED = ("--select", "+fct_menu_events", "+fct_menu_sessions", "+rpt_menu_items")
# Where somebody clicked, as whom, and whether the click has an id.
CLICKS = [
    (DEVICE, None, True),
    (DEVICE, None, False),
    (DEVICE, CUSTOMER, True),
    (DEVICE, CUSTOMER, False),
    (None, CUSTOMER, True),
    (None, CUSTOMER, False),
    (SHARED, CUSTOMER, True),
    (SHARED, CUSTOMER, False),
    (SHARED, OTHER, True),
    (SHARED, None, False),
    (STRANGE, None, True),
    (STRANGE, None, False),
]
THEIRS = {
    "commerce": [device == DEVICE or who == CUSTOMER for device, who, _ in CLICKS],
    "visitor": [device == DEVICE for device, *_ in CLICKS],
}


def click(number: int) -> dict[str, Any]:
    device, customer, has_id = CLICKS[number]
    record = {
        "event_id": f"click-{number}" if has_id else None,
        "occurred_at": f"2024-05-30T10:{number:02}:00Z",
        "location_id": "bar",
        "visitor_id": device,
        "customer_id": customer,
        "kind": "item_viewed",
        "item_id": f"item-{number}",
    }
    return {name: value for name, value in record.items() if value is not None}


def build(dbt: Dbt, settings: Settings, *options: str) -> None:
    """Build the menus, publish them and bring them to the lake."""
    arguments = ("build", *SELECTED, *WITHOUT_TESTS, *options)
    built = dbt.run(settings.home, *arguments, LARDER_AS_OF="2024-06-01T12:00:00Z")
    assert built.success, (built.message, built.problems)
    for hour in range(2):
        publish(settings, NOW + timedelta(hours=hour))
        bring_up_to_date(settings)


@pytest.fixture(scope="module")
def built(dbt: Dbt, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("guests")
    settings = with_lake(folder / "home")
    home = Home(settings)
    clicks = [line(click(number)) for number in range(len(CLICKS))]
    home.land("menu/menu_events/a.ndjson", b"".join(clicks[::2]))
    home.land("menu/menu_events/b.ndjson.gz", gzip.compress(b"".join(clicks[1::2])))
    home.land(
        "menu/menu_events/broken.ndjson",
        line(click(0) | {"occurred_at": "never"}) + f'{{"visitor_id": "{DEVICE}", '.encode(),
    )
    consents = [
        {"customer_id": one, "purpose": "targeting", "is_granted": True, "updated_at": "2024-05-01"}
        for one in (CUSTOMER, OTHER)
    ]
    home.land("accounts/consents/a.ndjson", b"".join(map(line, consents)))
    home.load()
    build(dbt, settings)
    return folder


def with_lake(home: Path) -> Settings:
    settings: Settings = settings_of(home)
    return settings.model_copy(update={"lake": str(home.with_name("lake"))})


@pytest.fixture
def settings(built: Path, tmp_path: Path) -> Settings:
    shutil.copytree(built, tmp_path / "copy", symlinks=True)
    return with_lake(tmp_path / "copy" / "home")


def query(file: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(file), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def all_texts(settings: Settings) -> dict[str, str]:
    """Return what stands in every file of the home and the lake, but for the vault's."""
    texts = {}
    for file in settings.home.parent.rglob("*"):
        if not file.is_file() or file.is_symlink() or file.parent == settings.vault_folder:
            continue
        data = file.read_bytes()
        text = data.decode("latin-1")
        if file.suffix == ".gz":
            text += gzip.decompress(data).decode()
        elif file.suffix == ".parquet":
            text += json.dumps(pq.read_table(file, partitioning=None).to_pylist(), default=str)
        elif file.suffix == ".duckdb":
            tables = query(
                file, "select format('{}.{}', schema_name, table_name) from duckdb_tables()"
            )
            text += "".join(str(query(file, f"from {table}")) for (table,) in tables)
        texts[str(file.relative_to(settings.home.parent))] = text
    return texts


def holding(settings: Settings, marks: set[str]) -> dict[str, set[str]]:
    """Return where any of these texts is."""
    pattern = re.compile("|".join(map(re.escape, marks)))
    found = {name: set(pattern.findall(text)) for name, text in all_texts(settings).items()}
    return {name: texts for name, texts in found.items() if texts}


def marks_of(settings: Settings, domain: Domain) -> set[str]:
    """Return ids and tokens of who goes, and all keys that are made of these."""
    people: dict[Domain, str] = {"visitor": DEVICE}
    if domain == "commerce":
        people["commerce"] = CUSTOMER
    with open_vault(settings) as vault:
        tokens = [token for one in people for token in vault.known_tokens(people[one], [one])]
    assert len(tokens) == len(people)
    theirs = " or ".join(f"'{token}' in (visitor_key, customer_key)" for token in tokens)
    keys = query(
        settings.build_database,
        f"""
        select menu_event_key from anonymised.anon_menu__menu_events
        where not has_event_id and ({theirs})
        union
        select session_key from intermediate.int_menu__sessionised_events
        where menu_event_key in (
            select menu_event_key from anonymised.anon_menu__menu_events
            where visitor_key is null and not has_event_id and ({theirs})
        )
        union
        select stream_key from anonymised.anon_menu__menu_events
        where ({theirs}) and (visitor_key is null and not has_event_id
            or visitor_key in ({", ".join(f"'{token}'" for token in tokens)}))
        """,
    )
    return {*people.values(), *tokens, *(key for (key,) in keys)}


@pytest.mark.parametrize("domain", ["commerce", "visitor"])
def test_a_guest_leaves_everything_and_their_clicks_stay_without_them(
    dbt: Dbt, settings: Settings, domain: Domain
) -> None:
    marks = marks_of(settings, domain)
    assert len(marks) == {"commerce": 11, "visitor": 5}[domain]
    before = holding(settings, marks)
    assert set().union(*before.values()) == marks
    lake = [name for name in before if name.startswith("lake/")]
    generations = [name for name in before if "generations/" in name]
    assert lake and len(generations) == 2

    report = erase_everywhere(settings, CUSTOMER if domain == "commerce" else DEVICE, now, domain)

    assert (report.traces, report.unsearchable) == ([], [])
    assert report.left == {"visitor": 1} if domain == "commerce" else {"commerce": 1}
    assert holding(settings, marks) == {}
    assert settings.refresh_file.exists()  # which makes the next build a full refresh
    build(dbt, settings, "--full-refresh")
    assert holding(settings, marks) == {}
    rows = query(
        settings.published_database,
        "select item_id, visitor_key is null, session_key = md5('session|' || menu_event_key) "
        "from marts.fct_menu_events order by occurred_at",
    )
    assert [item for item, *_ in rows] == [f"item-{number}" for number in range(len(CLICKS))]
    for is_theirs, (device, *_), (_, is_nobodys, is_alone) in zip(
        THEIRS[domain], CLICKS, rows, strict=True
    ):
        assert is_nobodys == (is_theirs or device is None)
        assert is_alone or not is_nobodys
    customers = query(
        settings.published_database,
        "select customer_key, sum(item_view_count) from marts.fct_menu_sessions "
        "where customer_key is not null group by customer_key order by 2",
    )
    # two at one device are nobody; without the one it is the other's, who signed in there
    with open_vault(settings) as vault:
        (other,) = vault.known_tokens(OTHER, ["commerce"])
        known = vault.known_tokens(CUSTOMER, ["commerce"])
    assert customers == ([(other, 2)] if domain == "commerce" else [(known[0], 4)])


def test_an_erasure_that_was_killed_still_knows_what_was_joined(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The devices are known from raw and the keys from the build, which are clean by then."""
    marks = marks_of(settings, "commerce")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("loaders.erasing.steps.erase_from_outbox", killed)
        erase_everywhere(settings, CUSTOMER, now)
    assert {name.partition("/")[0] for name in holding(settings, marks)} == {"lake"}

    report: Erasure = erase_everywhere(settings, CUSTOMER, now)

    assert report.traces == []
    assert (report.was_known, report.left) == (True, {"visitor": 1})
    assert holding(settings, marks) == {}
    with open_vault(settings) as vault:
        assert vault.known_tokens(DEVICE) == vault.known_tokens(CUSTOMER) == []
        assert vault.known_tokens(SHARED, ["visitor"])


def test_what_a_forgotten_device_sends_later_is_kept_without_it(settings: Settings) -> None:
    home = Home(settings)
    erase_everywhere(settings, DEVICE, now, "visitor")
    late = [click(0) | {"event_id": "late-1"}, click(8) | {"event_id": "late-2"}]
    home.land("menu/menu_events/late.ndjson", b"".join(map(line, late)))
    home.load()

    rows = home.query(
        "select natural_key, visitor_token is null from records where natural_key like 'late-%'",
        "menu/menu_events",
    )
    assert sorted(rows) == [("late-1", True), ("late-2", False)]
    assert DEVICE not in str(home.query("from records", "menu/menu_events"))
