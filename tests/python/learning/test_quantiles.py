"""Learned quantiles do not cross, cover what they say, and are the same for the same data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from demand_series import make_series

from larder.learning.evaluation import pinball
from larder.learning.features import Features, demand_features
from larder.learning.frames import Floats
from larder.learning.quantiles import QuantileModel, fit_quantiles

SPLIT = 360
LEVELS = (0.1, 0.5, 0.9)


@pytest.fixture(scope="module")
def learned() -> tuple[QuantileModel, Features, Floats, Features, Floats]:
    """A model of 360 days, and the days after them."""
    panel, surroundings = make_series(seed=11)
    trained = demand_features(panel, surroundings, 56, SPLIT - 1)
    tested = demand_features(panel, surroundings, SPLIT, panel.width - 1)
    units = panel.sold[:, 56:SPLIT]
    model = fit_quantiles(trained, units, levels=LEVELS, mean_rounds=150, scatter_rounds=60)
    return model, trained, units, tested, panel.sold[:, SPLIT:]


def test_no_quantile_crosses_another_or_is_negative(
    learned: tuple[QuantileModel, Features, Floats, Features, Floats],
) -> None:
    model, _, _, tested, _ = learned
    wild = np.random.default_rng(1).normal(0, 50, tested.values.shape).astype(np.float32)
    for features in (tested, replace(tested, values=wild)):
        quantiles = model.predict(features)
        assert (np.diff(quantiles, axis=2) >= 0).all()
        assert (quantiles >= 0).all()


def test_they_cover_what_they_say_on_days_not_seen(
    learned: tuple[QuantileModel, Features, Floats, Features, Floats],
) -> None:
    model, _, _, tested, actual = learned
    quantiles = model.predict(tested)
    for number, level in enumerate(LEVELS):
        # 1,080 counts: a share of them scatters by up to 0.015, and counts have ties
        assert np.mean(actual <= quantiles[:, :, number]) == pytest.approx(level, abs=0.06)


def test_they_beat_the_same_weekdays_quantile(
    learned: tuple[QuantileModel, Features, Floats, Features, Floats],
) -> None:
    model, _, units, tested, actual = learned
    quantiles = model.predict(tested)
    seen = np.concatenate([units, actual], axis=1)
    first = units.shape[1]
    same = np.stack([seen[:, first - 7 * week : seen.shape[1] - 7 * week] for week in range(1, 13)])
    for number, level in enumerate(LEVELS):
        rolling = np.quantile(same, level, axis=0, method="higher")
        assert pinball(quantiles[:, :, number], actual, level) < pinball(rolling, actual, level)


def test_shuffled_labels_teach_nothing(
    learned: tuple[QuantileModel, Features, Floats, Features, Floats],
) -> None:
    """A canary: whoever lets labels leak into features would look good here, too."""
    _, trained, units, tested, actual = learned
    shuffled = np.random.default_rng(5).permuted(units / trained.level, axis=1) * trained.level
    model = fit_quantiles(trained, shuffled, levels=(0.5,), mean_rounds=150, scatter_rounds=60)
    median = model.predict(tested)[:, :, 0]
    # a weekday's level alone
    assert pinball(median, actual, 0.5) > 0.95 * pinball(tested.level, actual, 0.5)


def test_the_same_data_and_seed_give_the_same_bytes() -> None:
    panel, surroundings = make_series(seed=4, days=150)
    features = demand_features(panel, surroundings, 56, 149)
    first, again, other = (
        fit_quantiles(
            features,
            panel.sold[:, 56:],
            levels=(0.5,),
            seed=seed,
            mean_rounds=20,
            scatter_rounds=20,
        )
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_unknown_units_are_not_learned_and_nothing_at_all_is_refused() -> None:
    panel, surroundings = make_series(seed=4, days=150)
    features = demand_features(panel, surroundings, 56, 149)
    unknown = np.where(np.arange(94) % 3 == 0, np.nan, panel.sold[:, 56:])
    model = fit_quantiles(features, unknown, levels=(0.5,), mean_rounds=20, scatter_rounds=20)
    assert np.isfinite(model.predict(features)).all()
    with pytest.raises(ValueError, match="no day to learn"):
        fit_quantiles(features, np.full(unknown.shape, np.nan))
    renamed = replace(features, names=("other", *features.names[1:]))
    with pytest.raises(ValueError, match="not those"):
        model.predict(renamed)
