"""Menu sessions against a plain walk and a peer, on clicks in any order and chunks."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
from dbt_client import WITHOUT_TESTS, Dbt
from warehouse_homes import settings_of

from larder.settings import PROJECT_ROOT, Settings
from loaders.load import load

CHUNKS = 3
SESSION_GAP = timedelta(minutes=30)
DOUBLE_SEND = timedelta(seconds=2)
GAPS = [0, 0.2, 1.999, 2, 2.001, 11, 95, 1300, 1799.999, 1800, 1800.001, 5000, 40_000]
KINDS = ["menu_opened", "item_viewed", "item_viewed", "item_skipped", "item_added", "order_placed"]
# an evening, so that sessions cross midnight
FIRST_MOMENT = datetime.fromisoformat("2024-05-01T22:00:00")

Record = dict[str, Any]


def shared_file(name: str) -> Path | None:
    """Find a file of the data that may not ship with the project."""
    files = (folder / "shared" / "data" / name for folder in PROJECT_ROOT.parents)
    return next((file for file in files if file.exists()), None)


def random_clicks(chance: random.Random) -> list[Record]:
    clicks: list[Record] = []
    for visitor in range(30):
        occurred_at = FIRST_MOMENT
        for _ in range(50):
            occurred_at += timedelta(seconds=chance.choice(GAPS))
            click = {
                "event_id": f"random-{len(clicks)}",
                "occurred_at": f"{occurred_at.isoformat(timespec='milliseconds')}Z",
                "location_id": chance.choice(["diner", "diner", "diner", "bar"]),
                "visitor_id": None if chance.random() < 0.02 else f"guest-{visitor}",
                "kind": chance.choice(KINDS),
                "item_id": chance.choice(["soup", 'the "cake"\nof the\\day']),
                "section": "mains",
                "position": 1,
            }
            clicks.append(click)
    return clicks


def shop_clicks() -> list[Record]:
    """Take the simulated web shop for a menu: every event is the view of a page."""
    file = shared_file("shop_clickstream.csv.gz")
    if file is None:
        return []
    shop = pd.read_csv(file)
    return [
        {
            "event_id": f"shop-{number}",
            "occurred_at": str(row.timestamp),
            "location_id": "shop",
            "visitor_id": row.user_id,
            "kind": "item_viewed",
            "item_id": row.event,
        }
        for number, row in enumerate(shop.itertuples())
    ]


@dataclass
class Clicks:
    """Hold what was sent, and the warehouse that was built of it."""

    settings: Settings
    sent: list[Record] = field(default_factory=list)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.settings.build_database), read_only=True) as connection:
            return connection.execute(sql).fetchall()


@pytest.fixture(scope="module")
def clicks(dbt: Dbt, tmp_path_factory: pytest.TempPathFactory) -> Clicks:
    """Build sessions after each of three chunks, into which all clicks were dealt out anyhow."""
    settings = settings_of(tmp_path_factory.mktemp("menus") / "warehouse")
    chance = random.Random(7)
    made = Clicks(settings, random_clicks(chance))
    records = [*made.sent, *shop_clicks()]
    chance.shuffle(records)
    folder = settings.landing_folder / "menu" / "menu_events"
    folder.mkdir(parents=True)
    for number in range(CHUNKS):
        lines = [json.dumps(record) for record in records[number::CHUNKS]]
        # some come again with a later file
        lines += [json.dumps(record) for record in records[: 50 * number]]
        (folder / f"{number}.ndjson").write_text("\n".join(lines) + "\n", encoding="utf-8")
        lab = shared_file("qr_menu_clicks.jsonl")
        if number == 0 and lab is not None:
            (folder / "lab.jsonl").write_bytes(lab.read_bytes())
        load(settings, lambda: datetime.now(UTC))
        selected = ("--select", "+fct_menu_events", "+fct_menu_sessions")
        result = dbt.run(settings.home, "build", *selected, *WITHOUT_TESTS)
        assert result.success, (result.message, result.problems)
    return made


def moment_of(click: Record) -> datetime:
    return datetime.fromisoformat(click["occurred_at"].removesuffix("Z"))


def reference(clicks: Iterable[Record]) -> list[dict[str, Any]]:
    """Walk through each guest's clicks in order, as one would by hand."""
    sessions: list[dict[str, Any]] = []
    streams: dict[tuple[str, str], list[Record]] = {}
    for click in clicks:
        whose = (click["location_id"], click["visitor_id"] or click["event_id"])
        streams.setdefault(whose, []).append(click)
    for (location_id, _), stream in streams.items():
        before = None
        same: dict[tuple[str, str], datetime] = {}
        for click in sorted(stream, key=moment_of):
            now = moment_of(click)
            if before is None or now - before > SESSION_GAP:
                empty = {"events": 0, "views": 0, "adds": 0, "doubles": 0, "has_order": False}
                sessions.append(
                    {"location_id": location_id, "started_at": now, **empty, "viewed": set()}
                )
            session = sessions[-1]
            what = (click["kind"], click["item_id"])
            is_double = what in same and now - same[what] <= DOUBLE_SEND
            session["events"] += 1
            session["doubles"] += is_double
            if click["kind"] == "item_viewed" and not is_double:
                session["views"] += 1
                session["viewed"].add(click["item_id"])
            session["adds"] += click["kind"] == "item_added" and not is_double
            session["has_order"] |= click["kind"] == "order_placed"
            session["last_event_at"] = before = same[what] = now
    return sessions


def test_sessions_are_those_of_a_plain_walk_through_the_clicks(clicks: Clicks) -> None:
    rows = clicks.query(
        "select sessions.location_id, started_at, events, item_view_count, item_add_count, "
        "double_send_count, has_order, viewed_item_ids, last_event_at "
        "from marts.fct_menu_sessions as sessions "
        "inner join (select session_key, count(*) as events from marts.fct_menu_events group by 1) "
        "using (session_key) where location_id in ('diner', 'bar')"
    )
    found = [(*row[:7], sorted(json.loads(row[7])), row[8]) for row in rows]
    expected = [
        (*list(session.values())[:7], sorted(session["viewed"]), session["last_event_at"])
        for session in reference(clicks.sent)
    ]
    assert sorted(found) == sorted(expected)
    assert len(expected) > 300
    assert sum(session[5] for session in expected) > 30, "hardly a double send"
    crossing = [session for session in expected if session[1].date() != session[8].date()]
    assert crossing, "no session crosses midnight"


def test_every_click_is_there_once_in_a_session(clicks: Clicks) -> None:
    (counts,) = clicks.query(
        "select count(*), count(distinct menu_event_key) from marts.fct_menu_events "
        "where location_id in ('diner', 'bar')"
    )
    assert counts == (len(clicks.sent), len(clicks.sent))
    alone = "from marts.fct_menu_events anti join marts.fct_menu_sessions using (session_key)"
    assert clicks.query(alone) == []


def test_a_web_shop_has_the_sessions_that_pandas_finds(clicks: Clicks) -> None:
    file = shared_file("shop_clickstream.csv.gz")
    if file is None:
        pytest.skip("../shared/data/shop_clickstream.csv.gz is not there")
    shop = pd.read_csv(file, parse_dates=["timestamp"]).sort_values(["user_id", "timestamp"])
    begins = shop.groupby("user_id")["timestamp"].diff().fillna(pd.Timedelta.max) > SESSION_GAP
    found = shop.groupby(begins.cumsum())["timestamp"].agg(["min", "max", "count"])
    expected = sorted(found.itertuples(index=False, name=None))
    rows = clicks.query(
        "select started_at, last_event_at, events from marts.fct_menu_sessions inner join "
        "(select session_key, count(*) as events from marts.fct_menu_events group by 1) "
        "using (session_key) where location_id = 'shop'"
    )
    assert sorted(rows) == expected
    assert len(rows) == shop["session_id"].nunique()
    assert sum(row[2] for row in rows) == len(shop) == 31_106
    # the events of people, however they were simulated, are not taken for those of a bot
    assert clicks.query("select count(*) from marts.fct_menu_sessions where is_bot") == [(0,)]


def test_the_older_clicks_of_the_lab_are_views_of_nobody(clicks: Clicks) -> None:
    if shared_file("qr_menu_clicks.jsonl") is None:
        pytest.skip("../shared/data/qr_menu_clicks.jsonl is not there")
    rows = clicks.query(
        "select item_id, dwell_seconds, occurred_at, kind, visitor_key, is_double_send, is_bot "
        "from marts.fct_menu_events where location_id = 'restaurant_name' "
        "order by item_id, dwell_seconds"
    )
    moment = datetime.fromisoformat("2022-09-11T23:00:00")
    assert rows == [
        (item, dwell, moment, "item_viewed", None, False, False)
        for item, dwell in [
            ("drink_1", 15), ("drink_3", 14), ("entree_1", 12), ("entree_1", 67), ("entree_4", 32),
        ]
    ]  # fmt: skip
    sessions = "select count(*) from marts.fct_menu_sessions where location_id = 'restaurant_name'"
    assert clicks.query(sessions) == [(5,)]
