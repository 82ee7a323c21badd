"""The dbt Python models on real DuckDB files: types, appending, order of rows, no look ahead."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from conftest import around
from score_warehouse import MODELS, build, put

from larder.learning.evaluation import DAYS_BETWEEN
from larder.learning.features import Surroundings, demand_features
from larder.learning.outlook import Outlook, outlook
from larder.learning.panel import read_panel, shelf_lives
from larder.learning.registry import ORDER_MODEL, Champion
from larder.learning.surroundings import read_surroundings

CONTRACT = {
    "ml_waste_probabilities": "location_id, item_id, as_of_date, horizon_days, waste_probability, "
    "expected_wasted_units, reasons, model_version, scored_at",
    "ml_order_quantities": "location_id, item_id, as_of_date, order_date, order_quantity, "
    "critical_ratio, demand_p10, demand_p50, demand_p90, expected_cost_usd, reasons, "
    "model_version, scored_at",
    "ml_models": "model_name, model_version, trained_at, data_until, parameters, artefact_hash, "
    "is_promoted, decision",
    "ml_evaluations": "model_name, model_version, evaluated_at, metric, value, baseline_name, "
    "baseline_value, observations",
    "ml_monitoring": "model_name, model_version, as_of_date, signal, value, threshold, is_alarm",
}
TYPES = {
    "as_of_date": "DATE",
    "order_date": "DATE",
    "data_until": "DATE",
    "scored_at": "TIMESTAMP",
    "evaluated_at": "TIMESTAMP",
    "trained_at": "TIMESTAMP",
    "horizon_days": "BIGINT",
    "order_quantity": "BIGINT",
    "observations": "BIGINT",
    "days_covered": "BIGINT",
    "is_alarm": "BOOLEAN",
    "is_promoted": "BOOLEAN",
}
TEXTS = {
    "location_id", "item_id", "reasons", "model_version", "model_name", "parameters",
    "artefact_hash", "decision", "metric", "baseline_name", "signal", "data_snapshot", "scores",
    "champion_scores", "artefact",
}  # fmt: skip


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(tmp_path / "build.duckdb")) as connection:
        yield connection


@pytest.mark.parametrize("name", MODELS)
def test_the_part_that_dbt_calls_is_short(name: str, scores: Callable[[str], ModuleType]) -> None:
    source = Path(str(scores(name).__file__)).read_text(encoding="utf-8")
    found = {
        node.name: node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)
    }
    model = found["model"]
    assert model.end_lineno is not None
    assert model.end_lineno - model.lineno + 1 <= 25


@pytest.mark.parametrize("rows", ["true", "false"], ids=["full", "empty"])
def test_tables_have_the_contracts_columns_and_types(
    warehouse: duckdb.DuckDBPyConnection,
    scores: Callable[[str], ModuleType],
    network: Any,
    rows: str,
) -> None:
    put(warehouse, network, rows)
    for name in MODELS:
        frame = build(warehouse, scores, name)
        assert (len(frame) > 0) == (rows == "true" or name == "ml_models")
        described = warehouse.execute(f"describe {name}").fetchall()
        columns = [row[0] for row in described]
        wanted = CONTRACT[name].split(", ")
        assert columns[: len(wanted)] == wanted
        for column, kind, *_ in described:
            expected = TYPES.get(column, "VARCHAR" if column in TEXTS else "DOUBLE")
            assert kind == expected, f"{name}.{column}"


def test_scores_are_appended_and_never_rewritten(
    warehouse: duckdb.DuckDBPyConnection, scores: Callable[[str], ModuleType], network: Any
) -> None:
    put(warehouse, network)
    first = {name: build(warehouse, scores, name) for name in MODELS}
    # the same day again, with other facts: what was said stays said
    warehouse.execute("update int_stock__score_days set sold_units = sold_units + 1")
    for name in MODELS:
        pd.testing.assert_frame_equal(build(warehouse, scores, name), first[name])
    for table in ("int_stock__score_pairs", "int_stock__units_held", "int_orders__candidates"):
        warehouse.execute(f"update {table} set as_of_date = as_of_date + {DAYS_BETWEEN}")
    for name in MODELS:
        again = build(warehouse, scores, name)
        known = len(first[name])
        assert len(again) == (known if name == "ml_models" else 2 * known)
        pd.testing.assert_frame_equal(again.head(known), first[name])


def test_an_evaluation_is_made_once_a_week(
    warehouse: duckdb.DuckDBPyConnection, scores: Callable[[str], ModuleType], network: Any
) -> None:
    put(warehouse, network)
    name = "ml_evaluations"
    first = build(warehouse, scores, name)
    for _ in range(DAYS_BETWEEN - 1):
        warehouse.execute("update int_stock__score_pairs set as_of_date = as_of_date + 1")
        assert len(build(warehouse, scores, name)) == len(first)
    warehouse.execute("update int_stock__score_pairs set as_of_date = as_of_date + 1")
    assert len(build(warehouse, scores, name)) == 2 * len(first)


def test_a_build_in_whose_time_no_day_has_closed_does_not_read_the_history(
    warehouse: duckdb.DuckDBPyConnection, scores: Callable[[str], ModuleType], network: Any
) -> None:
    put(warehouse, network)
    first = {name: build(warehouse, scores, name) for name in MODELS}
    warehouse.execute("drop table int_stock__score_days")
    for name in MODELS:
        pd.testing.assert_frame_equal(build(warehouse, scores, name), first[name])


def test_only_a_location_that_moved_on_is_scored_again(
    warehouse: duckdb.DuckDBPyConnection, scores: Callable[[str], ModuleType], network: Any
) -> None:
    put(warehouse, network)
    name = "ml_waste_probabilities"
    before = build(warehouse, scores, name)
    warehouse.execute(
        "update int_stock__score_pairs set as_of_date = as_of_date + 1 "
        "where location_id = 'location_00000'"
    )
    added = build(warehouse, scores, name).iloc[len(before) :]
    assert set(added["location_id"]) == {"location_00000"}
    assert len(added) == (before["location_id"] == "location_00000").sum()


def test_a_model_is_trained_when_it_is_due_and_serves_if_it_is_better(
    warehouse: duckdb.DuckDBPyConnection, scores: Callable[[str], ModuleType], grown: Any
) -> None:
    put(warehouse, grown)
    models = build(warehouse, scores, "ml_models")
    learned = models[models["model_name"].str.endswith("_boosted")]
    assert len(models) == 4
    assert len(learned) == 2
    assert learned["model_version"].nunique() == 1
    for text, found in zip(learned["artefact"], learned["artefact_hash"], strict=True):
        assert hashlib.sha256(text.encode()).hexdigest() == found
    # the network is simulated with a demand that can be learned
    assert learned["is_promoted"].all()
    assert learned["decision"].str.startswith("promoted: brier").all()
    risks = build(warehouse, scores, "ml_waste_probabilities")
    plans = build(warehouse, scores, "ml_order_quantities")
    version = set(learned["model_version"])
    assert set(risks["model_version"]) == set(plans["model_version"]) == version
    tests = build(warehouse, scores, "ml_evaluations")
    assert set(tests["model_name"]) == set(models["model_name"])
    # not due: nothing is read, nothing is trained
    warehouse.execute("drop table int_stock__score_days")
    assert len(build(warehouse, scores, "ml_models")) == 4
    put(warehouse, grown)
    warehouse.execute("update int_stock__score_pairs set as_of_date = as_of_date + 28")
    again = build(warehouse, scores, "ml_models")
    pd.testing.assert_frame_equal(again.head(4), models)
    assert len(again) == 6
    assert again["champion_scores"].iloc[-1] != "[]"


def risks_of(
    network: Any, scores: Callable[[str], ModuleType], champion: Champion | None, **other: Any
) -> pd.DataFrame:
    frames = {name: getattr(network, name) for name in ("days", "pairs", "held", "items", "now")}
    known = around(network)
    model = scores("ml_waste_probabilities")
    found: pd.DataFrame = model.score(**frames | other, known=known, champion=champion)
    return found


def plans_of(
    network: Any, scores: Callable[[str], ModuleType], champion: Champion | None, **other: Any
) -> pd.DataFrame:
    frames = {
        name: getattr(network, name) for name in ("days", "pairs", "candidates", "now", "held")
    }
    known = around(network)
    model = scores("ml_order_quantities")
    found: pd.DataFrame = model.plan(**frames | other, known=known, champion=champion)
    return found


def run(
    network: Any, scores: Callable[[str], ModuleType], champion: Champion | None
) -> list[pd.DataFrame]:
    results = scores("ml_evaluations").evaluate(
        network.days, network.pairs, network.items, network.now
    )
    return [
        risks_of(network, scores, champion),
        plans_of(network, scores, champion),
        results,
    ]


@pytest.fixture(scope="module", params=["simple", "learned"])
def serving(request: pytest.FixtureRequest) -> Champion | None:
    """The model that serves: none, so that the simple ones do, or a learned one."""
    return request.getfixturevalue("champion") if request.param == "learned" else None


@pytest.fixture(scope="module")
def said(
    grown: Any, scores: Callable[[str], ModuleType], serving: Champion | None
) -> list[pd.DataFrame]:
    return run(grown, scores, serving)


def test_the_order_of_rows_does_not_matter(
    grown: Any,
    scores: Callable[[str], ModuleType],
    serving: Champion | None,
    said: list[pd.DataFrame],
) -> None:
    for one, two in zip(said, run(grown.shuffled(7), scores, serving), strict=True):
        pd.testing.assert_frame_equal(one, two, check_exact=True)


def test_the_future_does_not_change_a_score(
    grown: Any,
    scores: Callable[[str], ModuleType],
    serving: Champion | None,
    said: list[pd.DataFrame],
) -> None:
    """Days after the as-of date, whatever happens on them, reach no risk, plan or evaluation."""
    rng = np.random.default_rng(5)
    future = grown.days[grown.days["days_ago"] < 30].copy()
    future["days_ago"] -= 30
    for column in ("sold_units", "discarded_units", "closing_units", "stocked_out_minutes"):
        future[column] = rng.integers(0, 90, len(future))
    future["is_stocked_out"] = rng.random(len(future)) < 0.5
    later = type(grown)(**{**vars(grown), "days": pd.concat([grown.days, future])})
    for one, two in zip(said, run(later, scores, serving), strict=True):
        pd.testing.assert_frame_equal(one, two, check_exact=True)


def test_what_sells_on_promotion_after_a_close_changes_no_look_ahead_from_it(
    grown: Any, champion: Champion
) -> None:
    """Leak: a promotion began before the close, and goes on after it in days that are known now."""
    panel = read_panel(grown.days, grown.pairs)
    life, close = shelf_lives(panel, grown.items), panel.width - 9
    day = grown.pairs["as_of_date"].max() - pd.Timedelta(days=8)

    def surroundings(first_day: int, end: int) -> Surroundings:
        first, last = pd.Timedelta(days=first_day), pd.Timedelta(days=end)
        row = {"item_id": ["item_000"], "location_id": [None]}
        runs = pd.DataFrame(row | {"starts_at": [day + first], "ends_at": [day + last]})
        known = around(replace(grown, promotions=runs))
        return read_surroundings(panel, known, 4, champion.learned.codes)

    def features(promoted: Surroundings) -> pd.DataFrame:
        found = demand_features(panel, promoted, close + 1, close + 1)
        rows = found.values[panel.item_ids == "item_000", 0]
        return pd.DataFrame(rows, columns=list(found.names))

    def looked(cells: dict[str, Any]) -> Outlook:
        other, demand = replace(panel, **cells), champion.learned.demand
        return outlook(demand, other, goes_on, life, close, close, 4)

    later = {name: getattr(panel, name).copy() for name in ("sold", "closing", "available")}
    for cells in later.values():
        cells[:, close + 1 :] = np.random.default_rng(4).random((panel.size, 8))
    goes_on = surroundings(-5, 8)
    one, two = looked({}), looked(later)
    for name, cells in vars(one).items():
        np.testing.assert_array_equal(cells, getattr(two, name), err_msg=name)
    for ours, theirs in zip(
        *(look.risks(champion.learned.risk) for look in (one, two)), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    # the test is not blind: that there was a promotion, and will be one tomorrow, is seen
    seen, over, never = (
        features(promoted) for promoted in (goes_on, surroundings(-5, 1), surroundings(-40, -39))
    )
    around_it = ["is_promoted_-3_days", "is_promoted", "is_promoted_+3_days"]
    assert (seen[around_it] == 1).all(axis=None)
    assert (seen["is_promoted_effect"] != never["is_promoted_effect"]).any()
    assert over[around_it].to_numpy().tolist() == [[1, 0, 0]] * len(over)
    assert over["is_promoted_effect"].equals(seen["is_promoted_effect"])


def test_risks_and_plans_keep_their_promises(
    grown: Any, scores: Callable[[str], ModuleType], serving: Champion | None
) -> None:
    network = grown
    held = network.held[network.held["location_id"] != "location_00001"]
    risks = risks_of(network, scores, serving, held=held)
    plans = plans_of(network, scores, serving)
    keys = ["location_id", "item_id", "as_of_date"]
    assert not risks.duplicated([*keys, "horizon_days"]).any()
    assert not plans.duplicated(keys).any()
    assert risks["waste_probability"].between(0, 1).all()
    assert (risks.groupby(keys)["waste_probability"].diff().dropna() >= 0).all()
    nothing = risks["held_units"] == 0
    assert nothing.any()
    assert (risks.loc[nothing, ["waste_probability", "expected_wasted_units"]] == 0).all(axis=None)
    life = network.items.set_index("item_id")["shelf_life_days"]
    longest = risks.groupby("item_id")["horizon_days"].max()
    assert longest.astype(int).to_dict() == life.to_dict()
    assert (plans["demand_p10"] <= plans["demand_p50"]).all()
    assert (plans["demand_p50"] <= plans["demand_p90"]).all()
    pack = network.items.set_index("item_id")["pack_size"].reindex(plans["item_id"]).to_numpy()
    assert (plans["order_quantity"].to_numpy(dtype=np.int64) % pack == 0).all()
    assert (plans["expected_cost_usd"] >= 0).all()
    for frame in (risks, plans):
        for text in frame["reasons"]:
            words = text.split("; ")
            assert len(set(words)) == len(words) == 3
            assert all(words)
    if serving is None:
        assert plans["reasons"].str.contains("holiday on the day").any()
    else:
        assert set(risks["model_version"]) == set(plans["model_version"]) == {serving.version}


def test_monitoring_compares_scores_with_what_happened(
    network: Any, scores: Callable[[str], ModuleType]
) -> None:
    early = network.days.assign(days_ago=network.days["days_ago"] - 14)
    as_of = network.pairs["as_of_date"].max() - np.timedelta64(14, "D")
    pairs = network.pairs.assign(as_of_date=as_of)
    held = (
        early[early["days_ago"] == 0][["pair_number", "closing_units"]]
        .merge(pairs, on="pair_number")
        .rename(columns={"closing_units": "units"})
        .assign(expires_on=pd.NaT)
    )
    candidates = network.candidates.assign(
        as_of_date=as_of, order_date=as_of + np.timedelta64(1, "D")
    )
    risks = risks_of(network, scores, None, days=early, pairs=pairs, held=held)
    plans = plans_of(network, scores, None, days=early, pairs=pairs, candidates=candidates)
    monitor = partial(scores("ml_monitoring").monitor, known=around(network))
    few = monitor(network.days, network.pairs, risks, plans)
    assert few["value"].isna().all()
    assert not few["is_alarm"].any()
    risks, plans = pd.concat([risks] * 8), pd.concat([plans] * 8)
    many = monitor(network.days, network.pairs, risks, plans)
    assert many["signal"].tolist() == ["brier", "coverage_p90"]
    assert many["value"].between(0, 1).all()
    plans["demand_p90"] = 0.0
    risks["waste_probability"] = 1 - risks["waste_probability"]
    assert monitor(network.days, network.pairs, risks, plans)["is_alarm"].all()


def test_monitoring_watches_what_a_learned_model_goes_by(
    grown: Any, scores: Callable[[str], ModuleType], champion: Champion
) -> None:
    monitor = scores("ml_monitoring").monitor
    risks, plans = risks_of(grown, scores, champion), plans_of(grown, scores, champion)
    calm = monitor(grown.days, grown.pairs, risks, plans, around(grown), champion)
    assert set(calm["model_version"]) == {champion.version}
    watched = calm[calm["signal"].str.startswith("psi_")]
    assert set(watched["model_name"]) == {ORDER_MODEL}
    assert len(watched) == len(champion.learned.reference.names)
    assert not watched["is_alarm"].any()
    recent = grown.days["days_ago"] < 28
    more = grown.days.assign(sold_units=grown.days["sold_units"].where(~recent, lambda u: 3 * u))
    shifted = monitor(more, grown.pairs, risks, plans, around(grown), champion)
    assert shifted["is_alarm"].any()
