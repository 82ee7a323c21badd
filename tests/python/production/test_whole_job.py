"""The whole job on an emulated Snowflake, twice, and what it publishes against DuckDB's.

A learned model is trained by the first run on either engine, is promoted, and serves in both runs.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

from conftest import Account
from dbt_client import WITHOUT_TESTS, Dbt
from warehouse_homes import run_larder, settings_of

from larder.metrics.textfile import read_samples
from larder.serving.compare import compare
from larder.serving.publish import publish
from larder.warehouse import open_published
from loaders.audit import audit
from loaders.load import load
from loaders.sample.network import SampleOptions, write_sample_network

# 30 pairs over all the days that scores look back: the least on which a learned model was seen to
# beat both simple ones, so that it serves. On 140 days of 42 pairs it lost on the cost of orders.
NETWORK = SampleOptions(days=200, locations=6, items_per_product=2)
# What comes between the two runs: the newest days, with what was late and what has changed.
LATER = ("2019-04-28", "2019-04-29", "2019-04-30", "changes-", "late")


def test_both_engines_publish_the_same(new_account: Account, dbt: Dbt, tmp_path: Path) -> None:
    landing, arriving = tmp_path / "landing", tmp_path / "arriving"
    write_sample_network(arriving, tmp_path / "truth", NETWORK)
    here = settings_of(tmp_path / "here").model_copy(update={"landing": landing})
    there = tmp_path / "there"
    # it costs a minute, and the page is the same
    (there / "docs").mkdir(parents=True)
    (there / "docs" / "index.html").touch()
    both = here.model_copy(
        update={
            name: value
            for name, value in new_account.settings(here.home, here.key_file)
            if name.startswith("snowflake_")
        }
    )
    for is_later in (False, True):
        move(arriving, landing, is_later)
        load(here, now)
        audit(here, now)
        built = dbt.run(here.home, "build", *WITHOUT_TESTS, LARDER_UNAUDITED="wait")
        assert built.success, (built.message, built.problems)
        publish(here, now())
        # the same people have the same tokens
        shutil.copytree(here.vault_folder, there / "vault", dirs_exist_ok=True)
        ran = run_larder(
            there,
            "run",
            LARDER_LANDING=str(landing),
            LARDER_KEY_FILE=str(here.key_file),
            **new_account.variables,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        metrics = read_samples(there / "metrics" / "larder.prom")
        assert metrics["larder_runs_total"]["run", "succeeded"] == 1 + is_later
        assert metrics["larder_published_rows"][("fct_stock_days",)] > 0
        newest = metrics["larder_published_newest_event_timestamp_seconds"]
        assert {source for (source,) in newest} == {"fridge", "orders"}
        assert "metrics" not in ran.stderr
        compared = compare(both)
        assert not compared.differences, "\n".join(map(str, compared.differences))
        assert compared.rows > 50_000
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


def now() -> datetime:
    return datetime.now(UTC)


def move(source: Path, target: Path, is_later: bool) -> None:
    """Move files of the landing zone, with the time they came at."""
    for file in sorted(source.rglob("*")):
        relative = file.relative_to(source)
        if file.is_file() and any(mark in file.name for mark in LATER) == is_later:
            (target / relative).parent.mkdir(parents=True, exist_ok=True)
            file.replace(target / relative)
