"""Whatever the order and the chunks in which files arrive, the tables are those of one load."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from dbt_client import REMEMBER, SCORES, WITHOUT_TESTS, Dbt
from happenings import FIRST_DAY, Files, Happenings

from larder.settings import PROJECT_ROOT, Settings
from loaders.dead_letters import CONFLICT_REASON, dead_letters
from loaders.load import load

# They say when a build ran, not what happened.
RUN_TIME_COLUMNS = {
    "accepted_at", "changed_after", "changed_at", "received_at", "newest_received_at",
    "processed_at", "process_hour",
}  # fmt: skip
# Files arrived in another order than that in which they are loaded, before much of what is in them.
ARRIVED = {
    "trips/trip_events": {
        "first": timedelta(days=7),
        "second": timedelta(days=3),
        "third": timedelta(days=2),
    }
}
# Rows that only say that something is gone, so that what is built on them hears of it.
HELD_WHERE = {
    "int_stock__item_days": "is_known",
    "int_stock__item_periods": "is_known",
    "int_stock__location_scopes": "is_current",
    "int_stock__scope_periods": "is_known",
}
# A full refresh leaves the scores as they are: what was said once stays.
NOT_AGAIN = ("path:models/staging", SCORES)
# What somebody edits in the seeds between two builds.
SEED_CHANGES = """
    update seeds.opening_hours set opens_minute = 480 where location_kind = 'fridge';
    delete from seeds.opening_hours where location_kind = 'kiosk';
    delete from seeds.time_zones
    where time_zone in ('Pacific/Kiritimati', 'Asia/Kolkata', 'Pacific/Pago_Pago');
    update seeds.age_groups set minimum_age = 50 where age_group = '45-59';
    update seeds.age_groups set maximum_age = 49 where age_group = '30-44';
    update seeds.postcode_regions set region = 'south' where postcode_prefix = '606';
"""


def scattered(files: Files, chance: random.Random) -> Iterator[Files]:
    """Deal the records out, in any order, to three chunks."""
    chunks: list[Files] = [{}, {}, {}]
    for entity, records in files.items():
        for record in chance.sample(records, len(records)):
            chance.choice(chunks).setdefault(entity, []).append(record)
    yield from chunks


def land(settings: Settings, chunk: Files, name: str) -> None:
    """Write one file an entity."""
    for entity, records in chunk.items():
        file = settings.landing_folder / entity / f"{name}.ndjson"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(json.dumps(record) + "\n" for record in records))
        if entity in ARRIVED:
            moment = (FIRST_DAY + ARRIVED[entity][name]).timestamp()
            os.utime(file, (moment, moment))


def land_and_load(settings: Settings, chunk: Files, name: str) -> None:
    """Write one file an entity and load them."""
    land(settings, chunk, name)
    load(settings, lambda: datetime.now(UTC))


def tables(settings: Settings) -> dict[str, set[str]]:
    """Read every table that was built, each row as text without its run-time columns."""
    content = {}
    with duckdb.connect(str(settings.build_database)) as connection:
        names = connection.execute(
            "select table_schema, table_name from information_schema.tables where table_type ="
            " 'BASE TABLE' and table_schema in ('anonymised', 'intermediate', 'marts')"
        ).fetchall()
        for schema, name in names:
            described = connection.execute(f"describe {schema}.{name}").fetchall()
            columns = [row[0] for row in described if row[0] not in RUN_TIME_COLUMNS]
            rows = connection.execute(
                f"select {', '.join(columns)} from {schema}.{name} "
                f"where {HELD_WHERE.get(name, 'true')}"
            )
            texts = [str(dict(zip(columns, row, strict=True))) for row in rows.fetchall()]
            content[f"{schema}.{name}"] = set(texts)
            assert len(texts) == len(content[f"{schema}.{name}"]), f"{name} repeats rows"
    return content


def conflicts(settings: Settings) -> dict[str, int]:
    """Read how many records of each entity lost a conflict, as the report has it."""
    with duckdb.connect(str(settings.build_database)) as connection:
        rows = connection.execute(
            "select source || '/' || entity, sum(records) from marts.rpt_data_quality "
            "where reason = 'conflict' group by all"
        ).fetchall()
    return {entity: int(records) for entity, records in rows}


@pytest.mark.parametrize(
    ("seed", "changes_come_alone"),
    [(1, True), (2, False)],
    ids=["seeds change alone", "seeds change beside new files"],
)
def test_any_order_and_chunks_give_the_tables_of_one_load(
    dbt: Dbt, seed: int, changes_come_alone: bool, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path / "home", key_file=tmp_path / "key")
    happenings = Happenings(seed)
    first, second, third = scattered(happenings.files(), happenings.random)

    def run(*arguments: str, as_of: str = "") -> None:
        result = dbt.run(settings.home, *arguments, LARDER_AS_OF=as_of)
        assert result.success, (result.message, result.problems)

    land_and_load(settings, first, "first")
    run("build", "--exclude", f"{SCORES}+", *WITHOUT_TESTS)
    land_and_load(settings, second, "second")
    # the clock runs ahead and is set back
    run("run", "--select", REMEMBER, "--exclude", *NOT_AGAIN, as_of="2024-04-01T00:00:00Z")
    land_and_load(settings, third, "third")
    if changes_come_alone:
        run("run", "--select", REMEMBER, "--exclude", *NOT_AGAIN)
    before = tables(settings)
    with duckdb.connect(str(settings.build_database)) as connection:
        connection.execute(SEED_CHANGES)
    run("run", "--exclude", "path:models/staging")
    incremental = tables(settings)
    run("run", "--exclude", *NOT_AGAIN, "--full-refresh")

    full = tables(settings)
    assert incremental.keys() == full.keys()
    for name, rows in full.items():
        surplus, missing = sorted(incremental[name] - rows), sorted(rows - incremental[name])
        assert (surplus[:3], missing[:3]) == ([], []), name

    # as it would have been, had all files been there at once
    together = Settings(home=tmp_path / "together", key_file=tmp_path / "key")
    shutil.copytree(settings.vault_folder, together.vault_folder)  # tokens are random
    for name, chunk in (("first", first), ("second", second), ("third", third)):
        land(together, chunk, name)
    load(together, lambda: datetime.now(UTC))
    result = dbt.run(together.home, "run", "--select", "+int_trips__tracks")
    assert result.success, (result.message, result.problems)
    tracks = "intermediate.int_trips__tracks"
    surplus = sorted(full[tracks] ^ tables(together)[tracks])
    assert surplus[:3] == []

    delivery = ("fct_trip_events", "fct_trips", "fct_geofence_visits")
    for name in (
        "fct_sales",
        "fct_orders",
        "fct_waste",
        "fct_stock_days",
        "fct_menu_sessions",
        *delivery,
    ):
        assert len(full[f"marts.{name}"]) > 10, f"{name} is hardly tested"
    flags = {str(row).partition("'position_flag': '")[2] for row in full["marts.fct_trip_events"]}
    assert len({flag.partition("'")[0] for flag in flags}) == 8, "not every flag is tested"
    evidence = " ".join(full["marts.fct_geofence_visits"])
    assert "'derived'" in evidence
    assert "'reported'" in evidence
    empty = {name for name, rows in full.items() if not rows and name.startswith("marts.")}
    assert empty <= {"marts.ml_evaluations"}, f"{sorted(empty)} are not tested at all"
    for name in (
        *("fct_stock_days", "fct_orders", "fct_sales", "fct_menu_events"),
        *("dim_customers", "dim_locations"),
    ):
        assert before[f"marts.{name}"] != full[f"marts.{name}"], f"the seeds did not touch {name}"

    found = Counter(
        f"{letter.source}/{letter.entity}"
        for letter in dead_letters(settings, reason=CONFLICT_REASON)
    )
    assert conflicts(settings) == found
    modelled = {
        file.stem.removeprefix("stg_").replace("__", "/", 1)
        for file in (PROJECT_ROOT / "models/staging").glob("*/stg_*.sql")
        if file.parent.name != "raw"
    }
    assert found.keys() == modelled
