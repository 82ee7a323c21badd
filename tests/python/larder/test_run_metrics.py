"""The metrics file: what is counted, what stays, and what cannot harm it or a run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest
from landing_zone import ARRIVED, Home, decide, event, line, make_home
from prometheus_client.parser import text_string_to_metric_families

from larder.errors import BuildError, WarehouseBusyError
from larder.metrics import COLLECTOR_METRICS, METRICS, metrics_file, record
from larder.metrics.catalogue import Samples
from larder.metrics.state import ALERT_KINDS, NEWEST_EVENTS, TOLD, tell_build, tell_published
from larder.metrics.textfile import changing, read_samples
from larder.pipeline import RunReport
from larder.progress import Progress
from larder.serving.publish import describe_generation, published_generation
from larder.settings import PROJECT_ROOT, Settings
from loaders.load import load

STOCK = ("fridge", "stock_events")


def at(hour: int) -> Callable[[], datetime]:
    return lambda: datetime(2024, 6, 1, hour, tzinfo=UTC)


def start_step(step: str) -> Progress:
    assert step
    return lambda *_: None


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    yield []


def load_once(home: Home, hour: int, warnings: list[str]) -> None:
    """Load as the command does."""
    report = RunReport()
    with record(home.settings, "load", report, at(hour), warnings.append) as timed:
        report.load = load(home.settings, at(hour), timed(start_step)("load"))


def fail(home: Home, hour: int, error: BaseException, *steps: str) -> None:
    """End a run with an error after some steps."""
    with (
        suppress(type(error)),
        record(home.settings, "run", RunReport(), at(hour), pytest.fail) as timed,
    ):
        for step in steps:
            timed(start_step)(step)
        raise error


def samples(home: Home) -> Samples:
    return read_samples(metrics_file(home.settings))


def test_counters_grow_and_gauges_are_of_the_last_load(home: Home, warnings: list[str]) -> None:
    home.land("fridge/stock_events/one.ndjson", line(event(1)) + line(event(2)) + b"{broken\n")
    home.land("fridge/stock_events/two.ndjson", line(event(3)) + line(event(3)))
    home.land("nobody/knows/it.ndjson", line(event(4)))
    load_once(home, 7, warnings)
    first = samples(home)
    home.land("fridge/stock_events/three.ndjson", line(event(5)))
    load_once(home, 8, warnings)
    second = samples(home)
    load_once(home, 9, warnings)
    third = samples(home)

    def of(found: Samples, name: str) -> float:
        return found[f"larder_{name}"][STOCK]

    assert [of(found, "load_records") for found in (first, second, third)] == [5, 1, 0]
    assert [of(found, "loaded_records_total") for found in (first, second, third)] == [5, 6, 6]
    assert [of(found, "loaded_files_total") for found in (first, second, third)] == [2, 3, 3]
    assert [of(found, "rejected_records_total") for found in (first, second, third)] == [1, 1, 1]
    assert [of(found, "duplicate_records_total") for found in (first, second, third)] == [1, 1, 1]
    assert [of(found, "load_rejected_records") for found in (first, second, third)] == [1, 0, 0]
    assert first["larder_loaded_files_total"]["unknown", "files"] == 1
    # what has never come is a nought, so that its first record is an increase
    assert first["larder_loaded_records_total"]["clinic", "patients"] == 0
    assert third["larder_runs_total"]["load", "succeeded"] == 3
    assert third["larder_run_last_timestamp_seconds"][("load",)] == at(9)().timestamp()
    assert third["larder_landing_newest_file_timestamp_seconds"][STOCK] == ARRIVED.timestamp()
    assert not warnings


def test_a_counter_that_was_lost_starts_again(home: Home, warnings: list[str]) -> None:
    home.land("fridge/stock_events/one.ndjson", line(event(1)))
    load_once(home, 7, warnings)
    metrics_file(home.settings).write_bytes(b"\xff{ not a metric")
    home.land("fridge/stock_events/two.ndjson", line(event(2)))
    load_once(home, 8, warnings)
    assert samples(home)["larder_loaded_records_total"][STOCK] == 1
    assert not warnings


def test_the_file_is_what_the_catalogue_says(home: Home, warnings: list[str]) -> None:
    home.land("fridge/stock_events/one.ndjson", line(event(1)))
    load_once(home, 7, warnings)
    text = metrics_file(home.settings).read_text(encoding="utf-8")
    families = list(text_string_to_metric_families(text))
    assert families
    for family in families:
        for sample in family.samples:
            metric = METRICS[sample.name]
            assert set(sample.labels) == set(metric.labels)
            assert (family.type, family.documentation) == (metric.kind, metric.text)
            assert sample.timestamp is None  # node_exporter refuses a file with any
    assert text.endswith("\n")


def test_a_catalogue_by_prometheus_conventions() -> None:
    for name, metric in {**METRICS, **COLLECTOR_METRICS}.items():
        assert name.startswith("larder_")
        assert name.endswith("_total") == (metric.kind == "counter"), name
        assert not name.endswith(("_count", "_sum", "_bucket", "_minutes", "_hours")), name
        assert metric.text.endswith("."), name


def test_what_waits_and_what_is_held(home: Home, warnings: list[str]) -> None:
    home.land("fridge/stock_events/one.ndjson", line(event(1)))
    load_once(home, 7, warnings)
    assert samples(home)["larder_held_segments"][STOCK] == 0
    decide(home, "held")
    home.land("fridge/stock_events/two.ndjson", line(event(2)))
    fail(home, 8, BuildError("a test failed"), "load")
    found = samples(home)
    assert found["larder_held_segments"][STOCK] == 1
    assert found["larder_held_oldest_timestamp_seconds"][STOCK] > 0
    assert found["larder_landing_waiting_files"][STOCK] == 1


def test_a_failed_run_keeps_the_last_success(home: Home) -> None:
    with record(home.settings, "run", RunReport(), at(7), pytest.fail) as timed:
        timed(start_step)("load")
        timed(start_step)("build and test")
    fail(home, 8, BuildError("a test failed"), "load")
    found = samples(home)
    assert found["larder_run_last_success_timestamp_seconds"][("run",)] == at(7)().timestamp()
    assert found["larder_run_last_timestamp_seconds"][("run",)] == at(8)().timestamp()
    assert found["larder_run_exit_code"][("run",)] == 1
    assert found["larder_runs_total"]["run", "failed"] == 1
    # the steps are those of the last run
    assert set(found["larder_run_step_duration_seconds"]) == {("run", "load")}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ZeroDivisionError()], ids=["^C", "bug"])
def test_a_run_that_was_stopped_or_met_a_bug_has_failed(home: Home, error: BaseException) -> None:
    fail(home, 8, error, "load")
    found = samples(home)
    assert found["larder_run_exit_code"][("run",)] == 1
    assert found["larder_run_last_success_timestamp_seconds"][("run",)] == 0


def test_a_run_that_found_another_one_is_only_counted(home: Home) -> None:
    fail(home, 7, BuildError("a test failed"), "load")
    fail(home, 8, WarehouseBusyError("held"))
    # the lock of an entity, in the middle of a run, is another matter
    busy = samples(home)
    fail(home, 9, WarehouseBusyError("held"), "load")
    assert busy["larder_runs_total"]["run", "busy"] == 1
    assert busy["larder_run_last_timestamp_seconds"][("run",)] == at(7)().timestamp()
    assert samples(home)["larder_runs_total"]["run", "failed"] == 2


def test_a_load_is_counted_before_the_build_can_be_killed(home: Home, warnings: list[str]) -> None:
    home.land("fridge/stock_events/one.ndjson", line(event(1)))
    report = RunReport()
    with record(home.settings, "run", report, at(7), warnings.append) as timed:
        start = timed(start_step)
        report.load = load(home.settings, at(7), start("load"))
        start("audit")
        during = samples(home)
    assert during["larder_loaded_records_total"][STOCK] == 1
    assert "larder_run_last_timestamp_seconds" not in during
    assert samples(home)["larder_loaded_records_total"][STOCK] == 1


KILLED = """
import os, signal, sys
from pathlib import Path
from larder.metrics.textfile import changing
from larder.settings import Settings
with changing(Settings(home=Path(sys.argv[1]))) as samples:
    samples.clear()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_leaves_the_old_file_whole(home: Home, warnings: list[str]) -> None:
    load_once(home, 7, warnings)
    file = metrics_file(home.settings)
    before = file.read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(home.settings.home)],
        env=os.environ | {"PYTHONPATH": str(PROJECT_ROOT)},
    )
    assert done.returncode == -signal.SIGKILL
    assert file.read_bytes() == before
    # what a kill in the middle of the writing leaves is no .prom, and in nobody's way
    file.with_name(f".{file.name}.tmp").write_bytes(before[:100])
    load_once(home, 8, warnings)
    assert samples(home)["larder_runs_total"]["load", "succeeded"] == 2
    assert [path.name for path in file.parent.glob("*.prom")] == ["larder.prom"]
    assert not warnings


def test_commands_that_end_together_are_all_counted(home: Home, warnings: list[str]) -> None:
    def end(hour: int) -> None:
        with record(home.settings, "load", RunReport(), at(hour), warnings.append):
            pass

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(end, range(16)))
    assert samples(home)["larder_runs_total"]["load", "succeeded"] == 16
    assert not warnings


def test_metrics_that_cannot_be_written_are_one_warning(home: Home, warnings: list[str]) -> None:
    home.land("fridge/stock_events/one.ndjson", line(event(1)))
    home.settings.home.mkdir(exist_ok=True)
    (home.settings.home / "metrics").write_text("in the way")
    load_once(home, 7, warnings)
    assert len(warnings) == 1
    assert "the metrics were not written" in warnings[0]
    assert len(home.keys()) == 1


def test_what_cannot_be_read_keeps_its_values(
    home: Home, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home.land("fridge/stock_events/one.ndjson", line(event(1)))
    load_once(home, 7, warnings)

    def refuse(*_: object) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setitem(TOLD, "audit", refuse)
    decide(home, "held")
    load_once(home, 8, warnings)
    assert warnings == ["metrics of the last run stay for audit (the disk is gone)"]
    assert samples(home)["larder_held_segments"][STOCK] == 0
    assert samples(home)["larder_runs_total"]["load", "succeeded"] == 2


def test_node_exporter_may_read_it_whatever_the_umask(home: Home, warnings: list[str]) -> None:
    before = os.umask(0o077)
    try:
        load_once(home, 7, warnings)
    finally:
        os.umask(before)
    file = metrics_file(home.settings)
    assert file.stat().st_mode & 0o777 == 0o644
    assert file.parent.stat().st_mode & 0o777 == 0o755


def test_published_figures_are_those_of_the_tables(built_home: Settings) -> None:
    found: Samples = {}
    tell_published(built_home, found, RunReport())
    name = published_generation(built_home)
    assert name is not None
    publication = describe_generation(built_home, name)
    with duckdb.connect(str(built_home.published_database), read_only=True) as connection:
        for source, query in NEWEST_EVENTS.items():
            ((newest,),) = connection.execute(query).fetchall()
            seconds = found["larder_published_newest_event_timestamp_seconds"][(source,)]
            assert seconds == newest.replace(tzinfo=UTC).timestamp()
        rows = connection.execute(
            "select alert_kind, count(*) from marts.rpt_alerts group by alert_kind"
        ).fetchall()
    alerts = {kind: value for (kind,), value in found["larder_published_alerts"].items()}
    assert alerts == dict.fromkeys(ALERT_KINDS, 0.0) | dict(rows)
    assert found["larder_published_generation_info"] == {(name,): 1.0}
    assert found["larder_published_timestamp_seconds"][()] == publication.published_at.timestamp()
    assert {table: rows for (table,), rows in found["larder_published_rows"].items()} == {
        table.name: table.rows for table in publication.tables
    }


def test_a_failed_build_is_counted_by_what_failed(home: Home) -> None:
    results = home.settings.home / "dbt" / "build" / "run_results.json"
    results.parent.mkdir(parents=True)
    nodes = [("model", "success"), ("test", "pass"), ("test", "fail"), ("test", "warn")]
    nodes += [("unit_test", "error"), ("model", "skipped"), ("operation", "success")]
    text = ",".join(f'{{"unique_id": "{kind}.larder.x", "status": "{s}"}}' for kind, s in nodes)
    results.write_text(f'{{"results": [{text}]}}', encoding="utf-8")
    found: Samples = {}
    tell_build(home.settings, found, RunReport())
    counts = {labels: count for labels, count in found["larder_build_nodes"].items() if count}
    assert counts == {
        ("model", "passed"): 1,
        ("model", "skipped"): 1,
        ("test", "passed"): 1,
        ("test", "failed"): 1,
        ("test", "warned"): 1,
        ("unit_test", "failed"): 1,
        ("other", "passed"): 1,
    }


def test_nothing_is_written_where_the_change_fails(home: Home, warnings: list[str]) -> None:
    load_once(home, 7, warnings)
    before = metrics_file(home.settings).read_bytes()
    with suppress(ValueError), changing(home.settings) as found:
        found.clear()
        raise ValueError("half way")
    assert metrics_file(home.settings).read_bytes() == before
