"""The whole job on an emulated Snowflake, twice, and what it publishes against DuckDB's.

A learned model is trained by the first run on either engine, is promoted, and serves in both runs.
Of the lakes of two builds it compares tables, files, months and counts; that the same rows give the
same bytes is shown in test_brought_tables.py.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pandas as pd
from conftest import Account
from dbt_client import WITHOUT_TESTS, Dbt
from pandas.api.types import is_bool_dtype, is_float_dtype, is_numeric_dtype
from warehouse_homes import ANALYSED, run_larder, settings_of

from larder.backtest import QUERIES
from larder.metrics.textfile import read_samples
from larder.serving.built import open_built
from larder.serving.lake import bring_up_to_date
from larder.serving.publish import publish
from larder.serving.reading import as_json, list_analyses, run_query, saved_analysis
from larder.settings import Settings
from larder.snowflake import fetch, open_snowflake
from larder.warehouse import open_published
from loaders.audit import audit
from loaders.load import load
from loaders.sample.network import SampleOptions, write_sample_network

# 30 pairs over all the days that scores look back: the least on which a learned model was seen to
# beat both simple ones, so that it serves. On 140 days of 42 pairs it lost on the cost of orders.
NETWORK = SampleOptions(days=200, locations=6, items_per_product=2)
SUSPENDED = {"code": 90073, "message": "Warehouse cannot be resumed: quota exceeded"}
# What comes between the two runs: the newest days, with what was late and what has changed.
LATER = ("2019-04-28", "2019-04-29", "2019-04-30", "changes-", "late")


Program = Callable[..., CompletedProcess[str]]


def test_both_engines_publish_the_same(new_account: Account, dbt: Dbt, tmp_path: Path) -> None:
    landing, arriving = tmp_path / "landing", tmp_path / "arriving"
    write_sample_network(arriving, tmp_path / "truth", NETWORK)
    here = settings_of(tmp_path / "here").model_copy(update={"landing": landing})
    there = tmp_path / "there"
    # it costs a minute, and the page is the same
    (there / "docs").mkdir(parents=True)
    (there / "docs" / "index.html").touch()
    larder_there = partial(
        run_larder,
        there,
        LARDER_LANDING=str(landing),
        LARDER_KEY_FILE=str(here.key_file),
        LARDER_LAKE=str(tmp_path / "lake there"),
        **new_account.variables,
    )
    larder_compare = partial(run_larder, here.home, "compare", **new_account.variables)
    for is_later in (False, True):
        move(arriving, landing, is_later)
        load(here, now)
        audit(here, now)
        built = dbt.run(here.home, "build", *WITHOUT_TESTS, LARDER_UNAUDITED="wait")
        assert built.success, (built.message, built.problems)
        publish(here, now())
        # the same people have the same tokens
        shutil.copytree(here.vault_folder, there / "vault", dirs_exist_ok=True)
        if not is_later:
            require_refused_runs(new_account, larder_there)
        ran = larder_there("run")
        assert ran.returncode == 0, ran.stdout + ran.stderr
        metrics = read_samples(there / "metrics" / "larder.prom")
        assert metrics["larder_runs_total"]["run", "succeeded"] == 1 + is_later
        assert metrics["larder_runs_total"]["run", "failed"] == 2
        assert metrics["larder_published_rows"][("fct_stock_days",)] > 0
        newest = metrics["larder_published_newest_event_timestamp_seconds"]
        assert {source for (source,) in newest} == {"fridge", "orders"}
        assert "metrics" not in ran.stderr
        compared = larder_compare()
        assert compared.returncode == 0, compared.stdout + compared.stderr
        counted = re.search(r"([\d,]+) rows compared, no differences", compared.stdout)
        assert counted, compared.stdout
        assert int(counted.group(1).replace(",", "")) > 50_000
    require_same_lakes(here.model_copy(update={"lake": str(tmp_path / "lake here")}), tmp_path)
    on_account = new_account.settings(there, here.key_file)
    require_same_past(here, on_account)
    with open_snowflake(on_account, "transformer") as connection:
        counts = "count(*) from larder_analytics.{}.{}audit_thresholds"
        (kept,), (seeded,) = (
            fetch(connection, f"select {counts.format(*of)}")[0]
            for of in (("snapshots", "snap_"), ("seeds", ""))
        )
    assert kept == seeded
    with open_published(here) as marts:
        models = marts.execute(
            "select model_version, model_name, is_promoted from ml_models "
            "where model_name like '%boosted' order by model_name"
        ).fetchall()
        ((champion, *_), _) = models
        assert models == [(champion, "order_boosted", True), (champion, "waste_boosted", True)]
        # what was compared with Snowflake's row for row are its scores, of both runs
        for scores in ("ml_waste_probabilities", "ml_order_quantities"):
            runs = marts.execute(
                f"select as_of_date > date '2019-04-27', count(*) from {scores} "
                "where model_version = ? group by all",
                [champion],
            ).fetchall()
            assert len(runs) == 2, runs
            assert min(rows for _, rows in runs) > 20, runs
    require_answers(here, on_account, larder_there)
    require_nothing_built(there, larder_there)
    require_one_step_back(larder_there, larder_compare)


def require_refused_runs(account: Account, larder_there: Program) -> None:
    """Let the upload, then the build of the first run be refused: each says what mends it."""
    with account.fault(r"^copy into \S+records", **SUSPENDED):
        refused = larder_there("run")
    assert refused.returncode == 1, refused.stdout + refused.stderr
    (said,) = (line for line in refused.stderr.splitlines() if line.startswith("error:"))
    assert "Warehouse cannot be resumed" in said
    assert "quota of larder_credits" in said
    with account.fault(r"raw\.segments", **SUSPENDED):
        refused = larder_there("run")
    assert refused.returncode == 1, refused.stdout + refused.stderr
    assert "Warehouse cannot be resumed" in refused.stderr
    (said,) = (line for line in refused.stderr.splitlines() if line.startswith("To mend it:"))
    assert "quota of larder_credits" in said
    assert "Traceback" not in refused.stderr
    assert status(larder_there)["published"] is None


def require_answers(here: Settings, there: Settings, larder_there: Program) -> None:
    """Ask the account what a user asks: a query, and every saved analysis."""
    counting = "select count(*) as sales from fct_sales"
    ((sales,),) = run_query(here, counting).rows
    asked = larder_there("query", counting, "--format", "csv")
    assert asked.stdout == f"sales\n{sales}\n", asked.stderr
    for name, file in list_analyses().items():
        ours, theirs = (answer(settings, name) for settings in (here, there))
        if not len(ours):
            subject = ANALYSED[file.parent.name]
            assert run_query(here, f"select count(*) as events from {subject}").rows == [(0,)]
            assert not len(theirs)
            continue
        # a quotient of exact numbers has six digits there, and a sum may be floating
        pd.testing.assert_frame_equal(
            theirs, ours, check_dtype=False, rtol=1e-9, atol=1e-6, obj=name
        )
    asked = larder_there("query", "--analysis", name, "--format", "json")
    assert len(json.loads(asked.stdout)) == len(ours), asked.stderr


def answer(settings: Settings, name: str) -> pd.DataFrame:
    """Return what a saved analysis says; a list is a text in Snowflake's answers."""
    rows = json.loads(as_json(run_query(settings, saved_analysis(settings, name))))
    for row in rows:
        for column, value in row.items():
            if isinstance(value, str) and value.startswith("["):
                row[column] = json.loads(value)
    return comparable(pd.DataFrame(rows))


def require_nothing_built(home: Path, larder_there: Program) -> None:
    """Run once more: nothing is new, so nothing is built and readers keep what they have."""
    results = home / "dbt" / "build" / "run_results.json"
    before, built = status(larder_there), results.stat().st_mtime_ns
    ran = larder_there("run")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    generation = before["published"]["generation"]
    assert f"generation {generation} holds everything that is accepted" in ran.stdout
    assert results.stat().st_mtime_ns == built
    after = status(larder_there)
    assert after["published"] == before["published"]
    assert after["earlier_generations"] == before["earlier_generations"]


def require_one_step_back(larder_there: Program, larder_compare: Program) -> None:
    """Go back to the first run; the next run leaves readers there."""
    before = status(larder_there)
    newest, (first,) = before["published"]["generation"], before["earlier_generations"]
    back = larder_there("rollback")
    assert back.returncode == 0, back.stdout + back.stderr
    assert f"Readers are back on generation {first}; it was {newest}." in back.stdout
    ran = larder_there("run")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"readers were taken back from {newest} to {first}" in ran.stdout
    after = status(larder_there)
    assert after["published"]["generation"] == first
    assert after["withdrawn_generations"] == [newest]
    compared = larder_compare()
    assert compared.returncode == 1, compared.stdout + compared.stderr
    assert "fct_stock_days, rows: " in compared.stdout


def status(larder_there: Program) -> dict[str, Any]:
    said = larder_there("status", "--json")
    assert said.returncode == 0, said.stderr
    found: dict[str, Any] = json.loads(said.stdout)
    return found


def require_same_lakes(here: Settings, folder: Path) -> None:
    """Compare the lakes' tables: columns, types, months and the rows of each."""
    bring_up_to_date(here)
    ours, theirs = (
        json.loads((folder / lake / "current.json").read_text("utf-8"))["tables"]
        for lake in ("lake here", "lake there")
    )
    for table in (*ours, *theirs):
        for file in table["files"]:
            file["name"] = file["name"].partition("/")[2]  # after when it was published
            del file["size_bytes"], file["fingerprint"]  # floating numbers and when it was accepted
    assert theirs == ours


def require_same_past(here: Settings, there: Settings) -> None:
    """Compare what a backtest reads of either build."""
    frames = []
    for settings in (here, there):
        with open_built(settings, QUERIES.values()) as built:
            frames.append({name: built.sql(sql).df() for name, sql in QUERIES.items()})
    for name in QUERIES:
        ours, theirs = (comparable(one[name]) for one in frames)
        assert len(ours)
        pd.testing.assert_frame_equal(theirs, ours, rtol=1e-9, obj=name)


def comparable(frame: pd.DataFrame) -> pd.DataFrame:
    """Sort rows, and take each number for a number, whatever type an engine has it in."""
    plain = pd.DataFrame(
        {
            str(name): pd.to_numeric(column)
            if is_numeric_dtype(column) and not is_bool_dtype(column)
            else column.astype(str)
            for name, column in frame.items()
        }
    )
    # what is floating may differ in its last digit, so it comes last
    order = sorted(map(str, plain), key=lambda name: is_float_dtype(plain[name]))
    return plain.sort_values(order, ignore_index=True)


def now() -> datetime:
    return datetime.now(UTC)


def move(source: Path, target: Path, is_later: bool) -> None:
    """Move files of the landing zone, with the time they came at."""
    for file in sorted(source.rglob("*")):
        relative = file.relative_to(source)
        if file.is_file() and any(mark in file.name for mark in LATER) == is_later:
            (target / relative).parent.mkdir(parents=True, exist_ok=True)
            file.replace(target / relative)
