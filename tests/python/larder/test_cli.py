"""The command line as a user meets it: real processes, exit codes, no tracebacks."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner, Result
from warehouse_homes import refused_larder, run_larder, settings_of, skip_unit_tests

from larder.build import run_dbt
from larder.cli import DONE, FAILED, WRONG_USE, larder
from larder.errors import BuildError
from larder.metrics.textfile import read_samples
from larder.settings import Settings

ITEM = {
    "item_id": "soup",
    "item_name": "Lentil soup",
    "category": "hot meals",
    "price_usd": 6,
    "unit_cost_usd": 2,
    "shelf_life_days": 3,
    "updated_at": "2026-01-01",
}
LOCATION = {
    "location_id": "lobby",
    "location_name": "Lobby",
    "kind": "fridge",
    "latitude": 52.5,
    "longitude": 13.4,
    "region": "north",
    "time_zone": "Europe/Berlin",
    "updated_at": "2026-01-01",
}


def write_records(home: Path, entity: str, name: str, records: list[dict[str, object]]) -> None:
    """Land records as NDJSON."""
    path = home / "landing" / entity / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records), encoding="utf-8")


def stock_events(days: int) -> list[dict[str, object]]:
    """Ten soups a day, six of them taken, in one fridge."""
    events: list[dict[str, object]] = []
    for day in range(1, days + 1):
        common = {"location_id": "lobby", "item_id": "soup"}
        events.append(
            common
            | {
                "event_id": f"r{day}",
                "occurred_at": f"2026-02-{day:02}T05:00:00Z",
                "kind": "restocked",
                "quantity": 10,
                "expires_on": f"2026-02-{day + 2:02}",
            }
        )
        events += [
            common
            | {
                "event_id": f"t{day}-{hour}",
                "occurred_at": f"2026-02-{day:02}T{hour:02}:00:00Z",
                "kind": "taken",
                "quantity": 1,
                "customer_id": f"guest-{hour}",
            }
            for hour in range(9, 15)
        ]
    return events


@pytest.fixture(scope="module")
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse of three hand-written files, run once."""
    home = tmp_path_factory.mktemp("own") / "warehouse"
    write_records(home, "catalog/items", "items.ndjson", [ITEM])
    write_records(home, "catalog/locations", "locations.ndjson", [LOCATION])
    write_records(home, "fridge/stock_events", "february.ndjson", stock_events(14))
    write_records(home, "fridge/stock_events", "bad.ndjson", [{"event_id": "x", "kind": "eaten"}])
    # the sample's run writes the documentation; here it would only take time
    (home / "docs").mkdir()
    (home / "docs" / "index.html").touch()
    skip_unit_tests(settings_of(home))
    finished = run_larder(home, "run")
    assert finished.returncode == DONE, finished.stdout + finished.stderr
    assert "What may be wasted" in finished.stdout
    assert "What to order" in finished.stdout
    assert "missing_field" in finished.stdout
    return home


def ask(home: Path, *arguments: str) -> Result:
    """Run a reading command in this process."""
    return CliRunner().invoke(
        larder, arguments, obj=settings_of(home), env={"LARDER_HOME": str(home)}
    )


def test_own_files_become_facts(own_home: Path) -> None:
    answer = ask(
        own_home,
        "query",
        "select sum(restocked_units), sum(sold_units) from fct_stock_days",
        "--format",
        "csv",
    )
    assert answer.output.splitlines()[1] == "140.000,84.000"


def test_the_metrics_of_a_run_agree_with_what_it_did(own_home: Path) -> None:
    found = read_samples(own_home / "metrics" / "larder.prom")
    assert found["larder_load_records"]["fridge", "stock_events"] == 14 * 7 + 1
    assert found["larder_rejected_records_total"]["fridge", "stock_events"] == 1
    assert found["larder_loaded_files_total"]["catalog", "items"] == 1
    assert sum(found["larder_landing_waiting_files"].values()) == 0
    assert found["larder_published_rows"][("fct_stock_days",)] == 14
    generation = (own_home / "larder.duckdb").readlink().parent.name
    assert set(found["larder_published_generation_info"]) == {(generation,)}
    newest = datetime(2026, 2, 14, 14, tzinfo=UTC).timestamp()
    assert found["larder_published_newest_event_timestamp_seconds"][("fridge",)] == newest
    last = found["larder_run_last_timestamp_seconds"][("run",)]
    assert found["larder_run_last_success_timestamp_seconds"][("run",)] == last
    assert found["larder_published_timestamp_seconds"][()] <= last
    steps = found["larder_run_step_duration_seconds"]
    assert {step for _, step in steps} == {
        "load",
        "audit",
        "compaction",
        "build_and_test",
        "publish",
    }
    total = found["larder_run_duration_seconds"][("run",)]
    assert sum(steps.values()) == pytest.approx(total)
    nodes = found["larder_build_nodes"]
    assert nodes["test", "passed"] > 100
    assert sum(count for (_, status), count in nodes.items() if status == "failed") == 0


def test_a_second_run_says_what_it_skipped(own_home: Path) -> None:
    finished = run_larder(own_home, "run")
    assert finished.returncode == DONE, finished.stderr
    assert "skipped load: nothing new" in finished.stdout
    assert "skipped audit" in finished.stdout
    assert "skipped build, test and publish" in finished.stdout


def test_the_next_run_knows_what_was_published_by_hand(own_home: Path) -> None:
    assert run_larder(own_home, "publish").returncode == DONE
    finished = run_larder(own_home, "run")
    assert finished.returncode == DONE, finished.stderr
    assert "skipped build, test and publish" in finished.stdout


def test_a_held_batch_stays_out_until_it_is_released(own_home: Path) -> None:
    unknown = [
        event | {"event_id": f"u{number}", "item_id": "nobody-knows-it"}
        for number, event in enumerate(stock_events(14) * 3)
    ]
    write_records(own_home, "fridge/stock_events", "unknown-items.ndjson", unknown)
    assert run_larder(own_home, "load").returncode == DONE
    audited = run_larder(own_home, "audit")
    assert audited.returncode == FAILED, audited.stdout + audited.stderr
    assert "held:" in audited.stdout
    released = run_larder(
        own_home, "audit", "--release", "fridge/stock_events", "--reason", "a new item"
    )
    assert released.returncode == DONE, released.stderr
    finished = run_larder(own_home, "run")
    assert finished.returncode == DONE, finished.stdout + finished.stderr
    days = ask(own_home, "query", "select count(*) from fct_stock_days", "--format", "csv")
    assert days.output.splitlines()[1] == "28"


def test_readers_stay_where_a_rollback_took_them(own_home: Path) -> None:
    newest = (own_home / "larder.duckdb").readlink()
    assert run_larder(own_home, "rollback").returncode == DONE
    earlier = (own_home / "larder.duckdb").readlink()
    assert earlier < newest
    metrics = (own_home / "metrics" / "larder.prom").read_text(encoding="utf-8")
    assert f'larder_published_generation_info{{generation="{earlier.parent.name}"}} 1.0' in metrics
    assert 'larder_runs_total{command="rollback",outcome="succeeded"} 1.0' in metrics

    finished = run_larder(own_home, "run")

    assert finished.returncode == DONE, finished.stderr
    assert "readers were taken back" in finished.stdout
    assert (own_home / "larder.duckdb").readlink() == earlier


def test_dead_letters_can_be_mended(own_home: Path, tmp_path: Path) -> None:
    listed = ask(own_home, "dead-letters", "--format", "ndjson")
    (letter,) = [json.loads(line) for line in listed.output.splitlines()]
    assert letter["reason"] == "missing_field"
    letter["corrected"] = stock_events(1)[0] | {"event_id": "x"}
    file = tmp_path / "mended.ndjson"
    file.write_text(json.dumps(letter) + "\n", encoding="utf-8")
    assert ask(own_home, "redrive", str(file)).exit_code == DONE
    loaded = run_larder(own_home, "load")
    assert "fridge/stock_events" in loaded.stdout


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        pytest.param(["fly"], WRONG_USE, "No such command", id="unknown command"),
        pytest.param(["query"], WRONG_USE, "--analysis", id="no query"),
        pytest.param(["load"], FAILED, "is not a folder", id="no landing zone"),
        pytest.param(["query", "select 1"], FAILED, "nothing is published yet", id="no marts"),
        pytest.param(["sample", "--days", "0"], WRONG_USE, "days", id="bad option"),
        pytest.param(["collect", "--port", "99999"], WRONG_USE, "65535", id="no such port"),
    ],
)
def test_mistakes_are_sentences(
    tmp_path: Path, arguments: list[str], exit_code: int, words: str
) -> None:
    finished = run_larder(tmp_path / "warehouse", *arguments)
    assert finished.returncode == exit_code
    assert words in finished.stderr
    assert "Traceback" not in finished.stderr


@pytest.mark.parametrize(
    ("command", "exit_code"),
    [
        ("run", WRONG_USE),
        ("status", DONE),
        ("load", FAILED),
        ("load --follow", FAILED),
        ("collect", FAILED),
        ("query --live show", WRONG_USE),
    ],
)
def test_a_home_that_cannot_be_a_folder_is_a_sentence(
    tmp_path: Path, command: str, exit_code: int
) -> None:
    (tmp_path / "file").touch()
    finished = run_larder(tmp_path / "file", *command.split())
    assert "Traceback" not in finished.stderr
    assert finished.returncode == exit_code
    assert exit_code == DONE or "LARDER_HOME" in finished.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_a_sentence(tmp_path: Path) -> None:
    home = tmp_path / "warehouse"
    (home / "logs").mkdir(parents=True)
    (home / "run.lock").symlink_to("/dev/full")
    finished = run_larder(home, "run")
    assert finished.returncode == FAILED
    assert "No space left on device. Make room" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_a_bad_setting_is_named_without_its_value(tmp_path: Path) -> None:
    for name, value in (("LARDER_AS_OF", "the day before"), ("LARDER_MEMORY_LIMIT", "a lot")):
        finished = refused_larder(tmp_path / "warehouse", "status", **{name: value})
        assert finished.returncode == WRONG_USE
        assert name in finished.stderr
        assert value not in finished.stderr


def test_a_failed_build_tells_what_dbt_says_and_no_more(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="No such option") as raised:
        run_dbt(settings_of(tmp_path / "warehouse"), ["build", "--fly"], None)
    assert "Warning" not in str(raised.value)


def test_status_for_programs(built_home: Settings) -> None:
    answer = json.loads(ask(built_home.home, "status", "--json").output)
    assert answer["published"]["tables"]
    assert answer["landing"]["files_not_loaded"] == 0


def test_export_by_day(built_home: Settings, tmp_path: Path) -> None:
    file = tmp_path / "days.csv"
    answer = ask(
        built_home.home,
        *("export", "fct_stock_days", "--from", "2019-04-30", "--to", "2019-04-30"),
        *("--output", str(file)),
    )
    assert answer.exit_code == DONE, answer.output
    lines = file.read_text(encoding="utf-8").splitlines()
    assert len(lines) > 1
    assert all("2019-04-30" in line for line in lines[1:])


def test_what_has_not_passed_its_tests_is_not_published(own_home: Path, tmp_path: Path) -> None:
    home = tmp_path / "warehouse"
    shutil.copytree(own_home, home, symlinks=True)
    shutil.copy(settings_of(own_home).key_file, settings_of(home).key_file)
    assert run_larder(home, "publish").returncode == DONE
    with duckdb.connect(str(home / "build.duckdb")) as connection:
        connection.execute("delete from marts.fct_waste")
        connection.execute("create table marts.half_done as select 1 as one")

    refused = run_larder(home, "publish")

    assert refused.returncode == FAILED
    assert "has not passed its tests" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_snowflake_is_refused_without_an_account(tmp_path: Path) -> None:
    alone = ("load", "build", "run", "publish", "docs", "backtest", "report")
    for command in (*([name] for name in alone), ["export", "dim_items"], ["erase", "someone"]):
        refused = refused_larder(tmp_path / "warehouse", *command, LARDER_TARGET="prod")
        assert refused.returncode == WRONG_USE
        assert "LARDER_TARGET is prod" in refused.stderr
