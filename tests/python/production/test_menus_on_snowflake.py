"""Sessions of menu clicks and their reports on an emulated Snowflake, against DuckDB's."""

from __future__ import annotations

import json
import random
import shutil
from datetime import UTC, datetime
from typing import Any

import duckdb
import pytest
from conftest import Account
from dbt_client import WITHOUT_TESTS, Dbt
from menu_clicks import menu_events
from warehouse_homes import settings_of

from larder.settings import Settings
from larder.snowflake import fetch, open_snowflake
from loaders.load import load
from loaders.upload import upload

TABLES = {
    "fct_menu_events": "menu_event_key, session_key, location_id, item_id, visitor_key, kind, "
    "section, bot_reason, position, dwell_seconds, is_double_send, is_bot, event_date",
    "fct_menu_sessions": "session_key, stream_key, location_id, visitor_key, customer_key, "
    "viewed_item_ids, bot_reason, menu_open_count, item_view_count, item_skip_count, "
    "item_add_count, double_send_count, has_order, is_active, is_bot",
    "rpt_menu_items": "menu_item_key, scope, section, item_id, period, position, view_count, "
    "skip_count, add_count, order_count, is_suppressed, period_start",
    "rpt_menu_funnel": "location_id, period, local_hour, opened_sessions, viewed_sessions, "
    "added_sessions, ordered_sessions, is_suppressed, period_start",
}
SHOWN = (
    "select (select count(order_rate) from marts.rpt_menu_items) > 0, "
    "(select count(customer_key) from marts.fct_menu_sessions) > 0"
)
SELECTED = ("--select", *(f"+{table}" for table in TABLES))


def now() -> datetime:
    return datetime.now(UTC)


def land(settings: Settings, number: int, clicks: list[dict[str, Any]]) -> None:
    """Land a part of the clicks, with a consent, and with one that is withdrawn by the second."""
    consents = [
        {"customer_id": f"c{customer}", "purpose": "targeting", "is_granted": number == 0,
         "updated_at": f"2024-03-0{1 + 7 * number}T00:00:00Z"}
        for customer in (range(12) if number == 0 else range(4))
    ]  # fmt: skip
    for entity, records in (("menu/menu_events", clicks), ("accounts/consents", consents)):
        file = settings.landing_folder / entity / f"{number}.ndjson"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(json.dumps(one) + "\n" for one in records), encoding="utf-8")
    load(settings, now)


def test_both_engines_make_the_same_of_menu_clicks(
    new_account: Account, dbt: Dbt, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("menus_there")
    here = settings_of(folder / "here")
    there = new_account.settings(folder / "there", here.key_file)
    chance = random.Random(3)
    clicks = menu_events(chance)
    chance.shuffle(clicks)
    for number in range(2):
        land(here, number, clicks[number::2])
        for part in ("raw", "vault"):
            shutil.copytree(here.home / part, there.home / part, dirs_exist_ok=True)
        upload(there, now)
        for home, target, variables in (
            (here.home, "dev", {}),
            (there.home, "prod", new_account.variables),
        ):
            arguments = ("build", *SELECTED, *WITHOUT_TESTS)
            built = dbt.run(home, *arguments, target=target, **variables)
            assert built.success, (target, built.message, built.problems)
        with (
            duckdb.connect(str(here.build_database), read_only=True) as ours,
            open_snowflake(there, "transformer") as theirs,
        ):
            for table, columns in TABLES.items():
                query = f"select {columns} from {{}}marts.{table}"
                expected = ours.execute(query.format("")).fetchall()
                found = fetch(theirs, query.format("larder_analytics."))
                assert sorted(map(str, map(tuple, found))) == sorted(map(str, expected)), table
                assert len(expected) > 40, table
    with duckdb.connect(str(here.build_database), read_only=True) as ours:
        assert ours.execute(SHOWN).fetchall() == [(True, True)]
