"""Risk: what lots and forecasts miss is learned, calibrated on later days, and never incoherent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from larder.learning.features import Matrix
from larder.learning.frames import Bools, Floats, Ints
from larder.learning.risk import (
    CALIBRATORS,
    Calibration,
    RiskModel,
    expit,
    fit_calibration,
    fit_risk,
    logit,
    never_certain,
    simplest,
)

DAYS = 80
ROWS = 8_000
NAMES = ("horizon", "noise")
AS_IT_IS = Calibration("none", (), ())


def some_scores(seed: int = 1) -> tuple[Matrix, Floats, Ints]:
    """Draw features that tell nothing, the true log-odds of waste, and the days, in order."""
    rng = np.random.default_rng(seed)
    rows = np.column_stack([np.ones(ROWS), rng.uniform(size=ROWS)]).astype(np.float32)
    return rows, rng.normal(-0.5, 1.5, ROWS), np.sort(rng.integers(0, DAYS, ROWS))


def happened(probability: Floats, seed: int = 2) -> Floats:
    """Draw whether two units were wasted, or none."""
    drawn = np.random.default_rng(seed).random(probability.shape)
    return np.where(drawn < probability, 2.0, 0.0)


def fitted(outlook: Floats, wasted: Floats, scores: tuple[Matrix, Floats, Ints]) -> RiskModel:
    rows, _, day = scores
    return fit_risk(NAMES, rows, outlook, 2 * outlook, wasted, day)


def brier(probability: Floats, wasted: Floats) -> float:
    return float(np.mean((probability - (wasted > 0)) ** 2))


@pytest.mark.parametrize("truth", ["scaled", "stepped"])
def test_an_outlook_that_is_badly_scaled_is_mended(truth: str) -> None:
    """Five times too sure; or right in its order alone, for there are only two kinds of stock."""
    scores = some_scores()
    rows, log_odds, _ = scores
    outlook = expit(log_odds)
    true = expit(log_odds / 5 + 1) if truth == "scaled" else np.where(log_odds > 0.5, 0.6, 0.2)
    model = fitted(outlook, happened(true), scores)
    assert model.calibration.name == ("sigmoid" if truth == "scaled" else "isotonic")
    later = happened(true, seed=9)
    best, raw = brier(true, later), brier(outlook, later)
    mended = brier(model.predict(rows, outlook), later)
    assert mended - best < 0.1 * (raw - best)


def test_later_days_choose_the_calibration() -> None:
    """One fitted to days that were as no others loses to the outlook as it is."""
    scores = some_scores()
    _, log_odds, day = scores
    outlook = expit(log_odds)
    of_all = fitted(outlook, happened(outlook), scores)
    calibrated = of_all.predict(scores[0], outlook)
    assert (
        brier(calibrated, happened(outlook, seed=9)) < brier(outlook, happened(outlook, 9)) * 1.01
    )
    odd = (day >= np.quantile(day, 0.5)) & (day < np.quantile(day, 0.75))
    misled = fitted(outlook, happened(np.where(odd, 0.5, outlook)), scores)
    assert misled.calibration.name == "none"
    always = fitted(outlook, happened(np.full(ROWS, 0.5)), scores)
    assert always.calibration.name != "none"


def test_nothing_is_learned_on_top_of_an_outlook_that_is_right() -> None:
    """What helps by less than days differ is chance: of what is as good, the simplest is kept."""
    scores = some_scores()
    outlook = expit(scores[1])
    model = fitted(outlook, happened(outlook), scores)
    assert not model.trees
    assert model.calibration.name == "none"
    rng = np.random.default_rng(3)
    day = np.repeat(np.arange(10), 50)
    noise = rng.normal(0, 0.1, (3, 500))
    better = np.array([0.5, 0.3, 0.299])[:, None]
    assert simplest(better + noise, day) == 1
    assert simplest(better[[1, 1, 1]] + noise[[0, 0, 0]], day) == 0
    # of one day nothing can be said: the best is taken
    assert simplest(better + noise, np.zeros(500, dtype=np.int64)) == int(
        np.argmin((better + noise).mean(axis=1))
    )


@given(
    st.sampled_from(CALIBRATORS),
    st.lists(st.tuples(st.floats(-9, 9), st.booleans()), min_size=1, max_size=30),
)
@settings(max_examples=60, deadline=None)
def test_a_calibration_does_not_fall_and_stays_a_probability(
    name: str, seen: list[tuple[float, bool]]
) -> None:
    log_odds = np.array([one for one, _ in seen])
    outcome = np.array([float(is_wasted) for _, is_wasted in seen])
    calibration = fit_calibration(name, log_odds, outcome)
    for least, most in ((0.0, 1.0), (0.02, 0.9)):
        bounded = replace(calibration, bounds=(least, most))
        probability = bounded.apply(np.linspace(-40, 40, 200))
        assert ((probability >= least) & (probability <= most)).all()
        assert (np.diff(probability) >= 0).all()


def test_a_calibration_that_would_be_upside_down_or_all_too_sure_is_fitted_quietly() -> None:
    log_odds = np.linspace(-9, 9, 100)
    upside_down = fit_calibration("sigmoid", log_odds, (log_odds < 3).astype(np.float64))
    np.testing.assert_allclose(upside_down.apply(log_odds), np.mean(log_odds < 3), atol=1e-6)
    sure = fit_calibration("sigmoid", log_odds, (log_odds > 0).astype(np.float64))
    assert sure.apply(np.array([-1e4, -9.0, 9.0, 1e4])) == pytest.approx([0, 0, 1, 1], abs=1e-3)


def test_what_never_failed_yet_is_not_said_to_be_certain() -> None:
    """The surest stock was always wasted, or never, on all the days that are known."""
    rows, log_odds, day = some_scores()
    rows = np.column_stack([rows, np.arange(ROWS) % 600, np.zeros(ROWS)]).astype(np.float32)
    outlook = expit(4 * log_odds)
    wasted = np.where(np.abs(log_odds) > 0.7, 2.0 * (log_odds > 0), happened(outlook))
    model = fit_risk((*NAMES, "location", "item"), rows, outlook, 2 * outlook, wasted, day)
    days = len(np.unique(day[day >= np.quantile(day, 0.5)]))
    least, most = model.calibration.bounds
    assert (least, most) == pytest.approx((0.5 / 601, (days + 0.5) / (days + 1)))
    probability = model.predict(rows, outlook)
    assert probability.min() == least
    assert probability.max() == most
    # and what is said comes true as often as it did without bounds
    later = happened(outlook, seed=9)
    free = replace(model, calibration=replace(model.calibration, bounds=(0.0, 1.0)))
    assert probability.mean() == pytest.approx((later > 0).mean(), abs=0.01)
    assert brier(probability, later) < brier(free.predict(rows, outlook), later) + 1e-3


def test_more_days_and_pairs_allow_to_be_surer() -> None:
    assert never_certain(0, 0) == (0.5, 0.5)
    assert never_certain(9, 0) == pytest.approx((0.05, 0.95))
    # of few pairs, days tell more
    assert never_certain(9, 5) == never_certain(9, 0)
    assert never_certain(9, 99) == pytest.approx((0.005, 0.95))
    days = [never_certain(n, 4 * n) for n in range(1, 50)]
    assert (np.diff(days, axis=0) * [-1, 1] > 0).all()


def test_log_odds_and_back() -> None:
    probability = np.array([1e-4, 0.2, 0.5, 0.99, 1 - 1e-4])
    assert expit(logit(probability)) == pytest.approx(probability)
    assert expit(logit(np.array([0.0, 1.0]))) == pytest.approx([1e-4, 1 - 1e-4])
    assert expit(np.array([-1e5, 0.0, 1e5])).tolist() == [0, 0.5, 1]


@pytest.fixture(scope="module")
def learned() -> tuple[RiskModel, Matrix, Floats, Floats]:
    """A model where half of the places waste more than the outlook says; rows, outlook, waste."""
    rng = np.random.default_rng(4)
    rows, log_odds, day = some_scores()
    place = rng.integers(0, 2, ROWS)
    rows = np.column_stack([rng.integers(1, 4, ROWS), place, rows[:, 1]]).astype(np.float32)
    outlook = expit(log_odds)
    wasted = happened(expit(log_odds + 2 * place + 0.7 * rows[:, 0] - 2))
    model = fit_risk(("horizon", "location", "noise"), rows, outlook, outlook, wasted, day)
    return model, rows, outlook, wasted


def test_what_the_outlook_misses_is_learned(
    learned: tuple[RiskModel, Matrix, Floats, Floats],
) -> None:
    model, rows, outlook, wasted = learned
    probability = model.predict(rows, outlook)
    assert ((probability >= 0) & (probability <= 1)).all()
    assert brier(probability, wasted) < 0.9 * brier(outlook, wasted)
    for place in (0, 1):
        here = rows[:, 1] == place
        assert probability[here].mean() == pytest.approx((wasted[here] > 0).mean(), abs=0.05)
    extreme = np.where(np.arange(ROWS) % 2, 0.0, 1.0)
    assert np.isfinite(model.predict(rows, extreme)).all()


def test_a_longer_horizon_is_never_less_of_a_risk() -> None:
    """Not even where the sample would have it so: whatever is wasted by a day is so by the next."""
    rng = np.random.default_rng(4)
    rows, log_odds, day = some_scores()
    rows[:, 0] = rng.integers(1, 4, ROWS)
    outlook = expit(log_odds)
    wasted = happened(expit(log_odds + 1.5 - 0.6 * rows[:, 0] + 2 * (rows[:, 1] > 0.7)))
    model = fit_risk(("horizon", "share"), rows, outlook, outlook, wasted, day)
    assert model.trees
    more = np.array([1, 0], dtype=np.float32)
    longer = [model.predict(rows + days * more, outlook) for days in range(4)]
    assert (np.diff(longer, axis=0) >= 0).all()


def test_contributions_add_up_to_what_was_learned(
    learned: tuple[RiskModel, Matrix, Floats, Floats],
) -> None:
    model, rows, _, _ = learned
    contributions = model.contributions(rows)
    assert contributions.shape == rows.shape
    # beside a log-odds of 0, what was learned is all there is
    said = replace(model, calibration=AS_IT_IS).predict(rows, np.full(ROWS, 0.5))
    constant = logit(said) - contributions.sum(axis=1)
    np.testing.assert_allclose(constant, constant[0], atol=1e-6)
    strength = np.abs(contributions).mean(axis=0)
    assert strength[1] > strength[0] > strength[2]


def test_the_same_scores_give_the_same_bytes(
    learned: tuple[RiskModel, Matrix, Floats, Floats],
) -> None:
    model, rows, outlook, wasted = learned
    day = some_scores()[2]
    again, other = (
        fit_risk(model.names, rows, outlook, outlook, wasted, day, seed) for seed in (0, 1)
    )
    assert again == model
    assert other != model


def test_the_factor_mends_a_bias_and_leans_on_one_where_little_was_held() -> None:
    scores = some_scores()
    rows, log_odds, day = scores
    outlook = expit(log_odds)
    wasted = happened(outlook)
    assert fitted(outlook, wasted, scores).units_factor == pytest.approx(1, abs=0.05)
    assert fitted(outlook, 3 * wasted, scores).units_factor == pytest.approx(3, abs=0.15)
    few = fit_risk(NAMES, rows[:4], outlook[:4], np.full(4, 0.5), np.full(4, 5.0), day[:4])
    # one day says nothing yet
    assert few.units_factor == 1


@pytest.mark.parametrize("case", ["none", "few", "of one day", "nothing was wasted", "all was"])
def test_where_there_is_too_little_to_learn_the_outlook_itself_is_said(case: str) -> None:
    rows, log_odds, day = some_scores()
    outlook = np.clip(expit(log_odds), 0.001, 0.999)
    used: Bools = np.ones(ROWS, dtype=np.bool_)
    if case in ("none", "few"):
        used = np.arange(ROWS) % (ROWS // 200) == 0 if case == "few" else ~used
    wasted = {"nothing was wasted": np.zeros(ROWS), "all was": np.ones(ROWS)}.get(
        case, happened(outlook)
    )
    day = np.zeros(ROWS, dtype=np.int64) if case == "of one day" else day
    model = fit_risk(NAMES, rows[used], outlook[used], outlook[used], wasted[used], day[used])
    assert model.predict(rows, outlook) == pytest.approx(outlook)
    assert (model.contributions(rows) == 0).all()
    assert model.predict(rows[:0], outlook[:0]).shape == (0,)


def test_a_quiet_start_does_not_stop_learning() -> None:
    """Nothing was wasted in the first half: there is one kind of outcome to grow trees from."""
    rows, log_odds, day = some_scores()
    outlook = expit(log_odds)
    wasted = np.where(day < DAYS / 2, 0.0, happened(outlook))
    model = fit_risk(NAMES, rows, outlook, outlook, wasted, day)
    probability = model.predict(rows, outlook)
    assert ((probability >= 0) & (probability <= 1)).all()
    assert np.isfinite(model.contributions(rows)).all()
