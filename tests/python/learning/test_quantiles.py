"""Learned quantiles do not cross, cover what they say, and are the same for the same data."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from demand_series import make_series

from larder.learning.censoring import Observed, blurred
from larder.learning.features import Features, demand_features
from larder.learning.frames import Floats
from larder.learning.metrics import pinball
from larder.learning.quantiles import QuantileFit, fit_quantiles, whole_units

FIRST, SPLIT = 56, 360
LEVELS = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class Case:
    """Hold a model of some days with their units, and the days after them with theirs."""

    fit: QuantileFit
    trained: Features
    units: Floats
    tested: Features
    actual: Floats


@pytest.fixture(scope="module")
def case() -> Case:
    panel, surroundings = make_series(seed=11)
    trained = demand_features(panel, surroundings, FIRST, SPLIT - 1)
    tested = demand_features(panel, surroundings, SPLIT, panel.width - 1)
    units = panel.sold[:, FIRST:SPLIT]
    fit = fit_quantiles(
        trained, Observed.whole(units), levels=LEVELS, most_rounds=100, scatter_rounds=40
    )
    return Case(fit, trained, units, tested, panel.sold[:, SPLIT:])


def little_fit(features: Features, observed: Observed, seed: int = 1) -> QuantileFit:
    return fit_quantiles(
        features, observed, levels=(0.5,), seed=seed, most_rounds=20, scatter_rounds=20
    )


def test_no_quantile_crosses_another_or_is_negative(case: Case) -> None:
    wild = np.random.default_rng(1).normal(0, 50, case.tested.values.shape).astype(np.float32)
    for features in (case.tested, replace(case.tested, values=wild)):
        quantiles = case.fit.model.predict(features)
        assert (np.diff(quantiles, axis=2) >= 0).all()
        assert (quantiles >= -0.5).all()
        assert (case.fit.model.expected(features) > 0).all()
        units = whole_units(quantiles)
        assert (units >= 0).all()
        np.testing.assert_array_equal(units, np.rint(units))
    lowered = replace(case.fit.model, corrections=(-9.0,) * len(LEVELS)).predict(case.tested)
    assert (lowered == -0.5).all()


def test_whole_units_are_those_within_half_a_unit() -> None:
    quantiles = np.array([-0.5, -0.1, 0.5, 0.51, 1.4, 1.5, 1.6])
    assert whole_units(quantiles).tolist() == [0, 0, 0, 1, 1, 1, 2]


def test_they_cover_what_they_say_on_days_not_seen(case: Case) -> None:
    quantiles = case.fit.model.predict(case.tested)
    smooth = blurred(case.actual, seed=2)
    for number, level in enumerate(LEVELS):
        # a share of 1,080 counts scatters by up to 0.015, and the corrections know few weeks
        assert np.mean(smooth <= quantiles[:, :, number]) == pytest.approx(level, abs=0.06)


def test_they_beat_the_same_weekdays_quantile(case: Case) -> None:
    quantiles = whole_units(case.fit.model.predict(case.tested))
    seen = np.concatenate([case.units, case.actual], axis=1)
    first = case.units.shape[1]
    same = np.stack([seen[:, first - 7 * week : seen.shape[1] - 7 * week] for week in range(1, 13)])
    for number, level in enumerate(LEVELS):
        rolling = np.quantile(same, level, axis=0, method="higher")
        learned = pinball(quantiles[:, :, number], case.actual, level)
        assert learned < pinball(rolling, case.actual, level)


def test_shuffled_labels_teach_nothing(case: Case) -> None:
    """A canary: whoever lets labels leak into features would look good here, too."""
    level = case.trained.level
    shuffled = np.random.default_rng(5).permuted(case.units / level, axis=1) * level
    fit = fit_quantiles(
        case.trained, Observed.whole(shuffled), levels=(0.5,), most_rounds=100, scatter_rounds=40
    )
    median = fit.model.predict(case.tested)[:, :, 0]
    # a weekday's level alone
    assert pinball(median, case.actual, 0.5) > 0.95 * pinball(case.tested.level, case.actual, 0.5)
    honest = case.fit.model.predict(case.tested)[:, :, 1]
    assert pinball(honest, case.actual, 0.5) < 0.9 * pinball(median, case.actual, 0.5)


def test_days_that_sold_out_do_not_lower_what_is_expected(case: Case) -> None:
    """People come at any time of the day; on a third of the days the shelf is empty by then."""
    rng = np.random.default_rng(9)
    share = rng.uniform(0.3, 0.9, case.units.shape)
    available = np.where(rng.uniform(size=share.shape) < 0.35, share, 1.0)
    sold = rng.binomial(case.units.astype(np.int64), available).astype(np.float64)
    told, naive = (
        fit_quantiles(case.trained, observed, levels=(0.9,), most_rounds=40, scatter_rounds=20)
        for observed in (Observed(sold, available, available < 1), Observed.whole(sold))
    )
    mean = case.actual.mean()
    assert told.model.expected(case.tested).mean() == pytest.approx(mean, rel=0.04)
    assert naive.model.expected(case.tested).mean() < 0.93 * mean
    covered, missed = (
        np.mean(blurred(case.actual, seed=2) <= fit.model.predict(case.tested)[:, :, 0])
        for fit in (told, naive)
    )
    assert covered == pytest.approx(0.9, abs=0.06)
    assert missed < covered - 0.01


def test_corrections_come_from_days_that_were_not_learned_from() -> None:
    """A model that had seen the later fifth would hardly be off where all is wanted threefold."""
    panel, surroundings = make_series(seed=4, days=360)
    features = demand_features(panel, surroundings, FIRST, 359)
    units = panel.sold[:, FIRST:]
    later = np.arange(units.shape[1]) >= 0.8 * units.shape[1]
    usual, more = (
        little_fit(features, Observed.whole(np.where(later, times * units, units))).model
        for times in (1, 3)
    )
    # the median is short by two of three parts
    assert more.corrections[0] - usual.corrections[0] == pytest.approx(2, abs=0.2)
    # … and the model that serves has learned from them
    assert more.expected(features)[:, later].mean() > 2 * usual.expected(features)[:, later].mean()


def test_the_same_data_and_seed_give_the_same_bytes() -> None:
    panel, surroundings = make_series(seed=4, days=150)
    features = demand_features(panel, surroundings, FIRST, 149)
    observed = Observed.whole(panel.sold[:, FIRST:])
    first, again, other = (little_fit(features, observed, seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_unknown_units_are_not_learned_and_nothing_at_all_is_refused() -> None:
    panel, surroundings = make_series(seed=4, days=150)
    features = demand_features(panel, surroundings, FIRST, 149)
    unknown = np.arange(94) % 3 == 0
    units = np.where(unknown, np.nan, panel.sold[:, FIRST:])
    fit = little_fit(features, Observed.whole(units))
    assert np.isfinite(fit.model.predict(features)).all()
    wild = np.where(unknown[:, None], 99, features.values).astype(np.float32)
    assert little_fit(replace(features, values=wild), Observed.whole(units)) == fit
    with pytest.raises(ValueError, match="no day to learn"):
        little_fit(features, Observed.whole(np.full(units.shape, np.nan)))
    renamed = replace(features, names=("other", *features.names[1:]))
    with pytest.raises(ValueError, match="not those"):
        fit.model.predict(renamed)
