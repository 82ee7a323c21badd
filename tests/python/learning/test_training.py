"""Training whole: what is learned can be kept and read, serves later days, and saw none of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from larder.learning import training
from larder.learning.censoring import Observed
from larder.learning.features import Surroundings, demand_features
from larder.learning.forecasts import (
    AHEAD,
    days_ahead,
    observed_demand,
    steps_ahead,
    training_features,
)
from larder.learning.frames import Ints
from larder.learning.lots import expiring_units
from larder.learning.metrics import brier, pinball
from larder.learning.outlook import Outlook, outlook
from larder.learning.panel import Panel, read_panel, shelf_lives
from larder.learning.quantiles import QuantileModel, fit_quantiles
from larder.learning.rolling import shifted
from larder.learning.training import (
    Learned,
    artefact_hash,
    enough_history,
    learn,
    outcomes,
    parameters,
)

HORIZON = 5
TRAINED, LATER = 150, 30
CODES = {"location": ("a", "b"), "item": ("x",)}

few_quantiles = partial(fit_quantiles, most_rounds=30, scatter_rounds=10)
Around = Callable[[Panel], Surroundings]


@dataclass(frozen=True)
class Case:
    """Hold a network of 180 days, what was learned from the first 150, and a smaller network."""

    panel: Panel
    life: Ints
    learned: Learned
    small: Panel
    small_life: Ints


def around_of(panel: Panel) -> Surroundings:
    """Know of the pairs what they are called, and of the days that none is a holiday."""
    return Surroundings(
        holidays=np.zeros((panel.size, panel.width + HORIZON)),
        places={
            "location": panel.location_codes.astype(np.float64),
            "item": panel.item_codes.astype(np.float64),
        },
    )


def learn_early(panel: Panel, life: Ints, seed: int = 0) -> Learned:
    early = panel.until(TRAINED - 1)
    return learn(early, around_of(early), life, HORIZON, CODES, seed)


@pytest.fixture(scope="module", autouse=True)
def few_rounds() -> Iterator[None]:
    """Grow few trees: what is tested here holds for any number of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "fit_quantiles", few_quantiles)
        yield


@pytest.fixture(scope="module")
def case(simulate: Callable[..., Any]) -> Case:
    networks = (
        simulate(seed=3, locations=10, items=6, days=TRAINED + LATER),
        simulate(seed=5, locations=4, items=4, days=120),
    )
    panel, small = (read_panel(network.days, network.pairs) for network in networks)
    life, small_life = (
        shelf_lives(one, network.items)
        for one, network in zip((panel, small), networks, strict=True)
    )
    return Case(panel, life, learn_early(panel, life), small, small_life)


def test_what_is_written_is_read_again(case: Case) -> None:
    risk, demand = case.learned.to_parts()
    read = Learned.from_parts(risk, demand)
    assert read == case.learned
    assert read.to_parts() == (risk, demand)
    assert artefact_hash(risk) == hashlib.sha256(risk.encode()).hexdigest()
    assert json.loads(json.dumps(parameters()))["levels"] == list(case.learned.demand.levels)


def test_the_same_history_gives_the_same_bytes(case: Case) -> None:
    assert learn_early(case.panel, case.life).to_parts() == case.learned.to_parts()


def without(text: str, *names: str) -> str:
    """Leave a part of a model's text out."""
    parts = json.loads(text)
    inner = parts
    for name in names[:-1]:
        inner = inner[name]
    del inner[names[-1]]
    return json.dumps(parts)


def test_a_text_that_is_no_model_is_refused(case: Case) -> None:
    risk, demand = case.learned.to_parts()
    parts = json.loads(demand)
    wrong_demands = (
        *("", "no model", "null", "[]", "3", "{}", demand[:-1], risk),
        without(demand, "demand"),
        without(demand, "demand", "scatter"),
        without(demand, "horizon"),
        json.dumps(parts | {"demand": parts["demand"] | {"depth": 3}}),
        json.dumps(parts | {"codes": ["a"]}),
        json.dumps(parts | {"horizon": "far"}),
    )
    wrong_risks = ("", "{}", without(risk, "risk", "calibration"), json.dumps({"risk": None}))
    for wrong in [(risk, one) for one in wrong_demands] + [(one, demand) for one in wrong_risks]:
        with pytest.raises(ValueError):
            Learned.from_parts(*wrong)


def test_enough_history_is_twelve_weeks_and_many_days_with_stock(case: Case) -> None:
    assert enough_history(case.panel)
    assert enough_history(case.panel.until(83))
    assert not enough_history(case.panel.until(82))
    some = case.panel.available * (np.arange(case.panel.size) < 12)[:, None]
    assert not enough_history(replace(case.panel, available=some))


@pytest.mark.parametrize("horizon", [1, 2, 4, 30])
def test_training_sees_every_day_from_one_of_the_distances(case: Case, horizon: int) -> None:
    panel = case.small
    around = replace(around_of(panel), holidays=np.zeros((panel.size, panel.width + horizon)))
    found = training_features(panel, around, 40, 119, horizon, seed=2)
    assert found.names[-1] == "days_ahead"
    ahead = found.values[0, :, -1].astype(int)
    assert (found.values[:, :, -1] == ahead).all()
    assert set(ahead.tolist()) == set(steps_ahead(horizon)) <= {*AHEAD, horizon}
    for days in set(ahead.tolist()):
        one, here = demand_features(panel, around, 40, 119, days), ahead == days
        np.testing.assert_array_equal(found.values[:, here, :-1], one.values[:, here])
        np.testing.assert_array_equal(found.level[:, here], one.level[:, here])


def disturbed(panel: Panel, column: int, seed: int = 7) -> Panel:
    """Change everything that happened after a column."""
    rng = np.random.default_rng(seed)
    later = np.arange(panel.width) > column
    units = {
        name: np.where(later, rng.integers(0, 90, panel.sold.shape), getattr(panel, name))
        for name in ("sold", "discarded", "missing", "closing", "restocked")
    }
    return replace(
        panel,
        **units,
        available=np.where(later, rng.uniform(0, 1, panel.sold.shape), panel.available),
        stocked_out=np.where(later, ~panel.stocked_out, panel.stocked_out),
        observed=np.where(later, rng.uniform(size=panel.sold.shape) < 0.5, panel.observed),
    )


def check_no_look_ahead(
    model: QuantileModel, panel: Panel, around: Around, life: Ints, column: int, horizon: int
) -> None:
    """Fail if forecasts or outlooks from closes up to a column know of a day after it.

    What is known around the pairs is taken from the changed panel, too: it may leak as well.
    """
    other = disturbed(panel, column)
    first = column - 3
    forecasts, again = (
        list(days_ahead(model, one, around(one), first, column, horizon)) for one in (panel, other)
    )
    for one, two in zip(forecasts, again, strict=True):
        np.testing.assert_array_equal(one.expected, two.expected)
        np.testing.assert_array_equal(one.quantiles, two.quantiles)
    looked, again_looked = (
        outlook(model, one, around(one), life, first, column, horizon) for one in (panel, other)
    )
    for field in fields(Outlook):
        np.testing.assert_array_equal(
            getattr(looked, field.name), getattr(again_looked, field.name)
        )


@pytest.mark.parametrize("horizon", [1, 3, HORIZON])
def test_nothing_after_the_close_changes_what_is_forecast(case: Case, horizon: int) -> None:
    model = case.learned.demand
    for column in (40, 90, 118):
        check_no_look_ahead(model, case.small, around_of, case.small_life, column, horizon)
    # the check is not blind: what happened on the day of the close does matter
    other = disturbed(case.small, 89)
    one, two = (
        next(days_ahead(model, panel, around_of(panel), 90, 90, horizon))
        for panel in (case.small, other)
    )
    assert (one.expected != two.expected).mean() > 0.9


def test_a_feature_of_tomorrow_is_too_good_to_be_true_and_is_caught(case: Case) -> None:
    """A canary: tomorrow's units as a signal of today."""

    def clairvoyant(panel: Panel) -> Surroundings:
        return replace(around_of(panel), signals={"rain": shifted(panel.sold, -1)})

    panel, tested = case.small, np.arange(28, case.small.width) >= 90
    seen = observed_demand(panel, 28, panel.width - 1)
    hidden = Observed(np.where(tested, np.nan, seen.units), seen.available, seen.censored)
    loss = {}
    for name, around in (("honest", around_of), ("clairvoyant", clairvoyant)):
        features = training_features(panel, around(panel), 28, panel.width - 1, 1, seed=0)
        model = few_quantiles(features, hidden, levels=(0.5,)).model
        median = model.predict(features)[:, :, 0][:, tested]
        known = np.isfinite(seen.units[:, tested])
        loss[name] = pinball(median[known], seen.units[:, tested][known], 0.5)
        if name == "honest":
            check_no_look_ahead(model, panel, around, case.small_life, 100, 1)
        else:
            with pytest.raises(AssertionError):
                check_no_look_ahead(model, panel, around, case.small_life, 100, 1)
    assert loss["clairvoyant"] < 0.6 * loss["honest"]


def test_a_close_is_described_as_it_was_on_its_evening(case: Case) -> None:
    """What a score says tonight is what training will see of this night."""
    column = 160
    tonight = case.panel.until(column)
    due = expiring_units(tonight, case.life, HORIZON)[:, column:]
    one, two, given = (
        outlook(
            case.learned.demand, panel, around_of(panel), case.life, column, column, HORIZON, known
        )
        for panel, known in ((case.panel, None), (tonight, None), (tonight, due))
    )
    for field in fields(Outlook):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(two, field.name))
        np.testing.assert_array_equal(getattr(one, field.name), getattr(given, field.name))


@pytest.fixture(scope="module")
def later(case: Case) -> Outlook:
    """What is said of the closes after the days that were learned from."""
    return outlook(
        case.learned.demand,
        case.panel,
        around_of(case.panel),
        case.life,
        TRAINED - 1,
        TRAINED + LATER - 2,
        HORIZON,
    )


def test_risks_are_coherent_and_better_than_what_is_usual(case: Case, later: Outlook) -> None:
    probability, units = later.risks(case.learned.risk)
    held = later.held[:, None]
    assert ((probability >= 0) & (probability <= 1)).all()
    assert (np.diff(probability, axis=1) >= 0).all()
    assert (np.diff(units, axis=1) >= 0).all()
    assert (probability <= units + 1e-12).all()
    assert (units <= probability * held + 1e-12).all()
    wasted, known = outcomes(later, case.panel, case.life)
    for horizon in range(2):
        seen = known[:, horizon]
        actual = (wasted[seen, horizon] > 0).astype(np.float64)
        said = probability[seen, horizon]
        assert brier(said, actual) < 0.8 * brier(np.full(len(said), actual.mean()), actual)
        assert said.mean() == pytest.approx(actual.mean(), abs=0.06)
        assert units[seen, horizon].sum() == pytest.approx(wasted[seen, horizon].sum(), rel=0.2)


def test_an_outcome_is_known_within_the_shelf_life_and_the_panel(
    case: Case, later: Outlook
) -> None:
    wasted, known = outcomes(later, case.panel, case.life)
    ahead = np.arange(1, HORIZON + 1)
    within = ahead <= case.life[later.pair][:, None]
    within &= later.column[:, None] + ahead < case.panel.width
    # every day of this network is observed
    np.testing.assert_array_equal(known, within)
    assert (wasted[known] <= np.broadcast_to(later.held[:, None], known.shape)[known]).all()
    both = known[:, 1:] & known[:, :-1]
    assert (np.diff(wasted, axis=1)[both] >= 0).all()
    # first in, first out: what is held goes unsold on its last day, or not at all
    last = np.minimum(case.life[later.pair], HORIZON) - 1
    rows = np.flatnonzero(known[np.arange(len(last)), last])
    due = np.take_along_axis(later.expiring, last[:, None], axis=1)[rows, 0]
    assert (wasted[rows, last[rows]] <= due).all()
