"""Features know nothing of the days they must not know, and say what they are named for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from demand_series import make_series

from larder.learning.features import Matrix, Surroundings, demand_features, same_holiday
from larder.learning.frames import Floats
from larder.learning.panel import Panel


@pytest.mark.parametrize("ahead", [1, 2, 6, 7, 8, 15])
@pytest.mark.parametrize("day", [30, 100, 400, 449])
def test_nothing_at_or_after_the_order_changes_a_feature(ahead: int, day: int) -> None:
    panel, surroundings = make_series(seed=3)
    rng = np.random.default_rng(7)
    cut = day - ahead + 1  # the first column that must not be read

    def disturbed(first: int) -> tuple[Panel, Surroundings]:
        later = np.arange(panel.width) >= first

        def changed(cells: Floats) -> Floats:
            return np.where(later, rng.uniform(0, 90, cells.shape), cells)

        other = replace(
            panel,
            sold=changed(panel.sold),
            discarded=changed(panel.discarded),
            missing=changed(panel.missing),
            closing=changed(panel.closing),
            available=np.where(later, rng.uniform(0, 1, panel.sold.shape), panel.available),
            stocked_out=np.where(later, ~panel.stocked_out, panel.stocked_out),
            observed=np.where(later, rng.uniform(size=panel.sold.shape) < 0.5, panel.observed),
        )
        signals = {name: changed(cells) for name, cells in surroundings.signals.items()}
        return other, replace(surroundings, signals=signals)

    expected = demand_features(panel, surroundings, day, day, ahead)
    found = demand_features(*disturbed(cut), day, day, ahead)
    np.testing.assert_array_equal(found.values, expected.values)
    np.testing.assert_array_equal(found.level, expected.level)

    earlier = demand_features(*disturbed(cut - 1), day, day, ahead)
    assert not np.array_equal(earlier.values, expected.values, equal_nan=True)


def test_a_day_after_the_panel_is_described_as_it_will_be() -> None:
    """Scoring tomorrow from what is known today is what training saw of that day."""
    panel, surroundings = make_series(seed=5)
    known = panel.until(400)
    today = replace(
        surroundings,
        signals={name: cells[:, :401] for name, cells in surroundings.signals.items()},
    )
    for ahead in (1, 3, 10):
        day = 400 + ahead
        scored = demand_features(known, today, day, day, ahead)
        trained = demand_features(panel, surroundings, day, day, ahead)
        np.testing.assert_array_equal(scored.values, trained.values)
        np.testing.assert_array_equal(scored.level, trained.level)


def test_a_day_too_far_ahead_is_refused() -> None:
    panel, surroundings = make_series(seed=5)
    with pytest.raises(ValueError, match="2 days ahead"):
        demand_features(panel, surroundings, panel.width + 2, panel.width + 2, 2)
    with pytest.raises(ValueError, match="is_holiday is known for 450 days, 452 are needed"):
        short = replace(surroundings, holidays=surroundings.holidays[:, :450])
        demand_features(panel, short, 451, 451, 2)


def test_features_are_what_their_names_say() -> None:
    panel, surroundings = make_series(seed=5)
    day = 430
    features = demand_features(panel, surroundings, day, day)

    def of(name: str) -> Matrix:
        return features.values[:, 0, features.names.index(name)]

    level = features.level[:, 0]
    np.testing.assert_allclose(of("same_weekday_1") * level, panel.sold[:, day - 7], rtol=1e-5)
    np.testing.assert_allclose(of("same_weekday_3") * level, panel.sold[:, day - 21], rtol=1e-5)
    np.testing.assert_allclose(of("rain"), surroundings.signals["rain"][:, day - 1], rtol=1e-5)
    date = panel.as_of[0] - (panel.width - 1 - day)
    assert (of("weekday") == date.astype(object).weekday()).all()
    np.testing.assert_array_equal(of("is_holiday_+1_days"), surroundings.holidays[:, day + 1])
    np.testing.assert_array_equal(of("is_promoted"), surroundings.events["is_promoted"][:, day])


def test_the_level_of_a_pair_without_a_day_is_its_items() -> None:
    panel, surroundings = make_series(seed=5)
    new = 4
    observed = panel.observed.copy()
    observed[new] = False
    level = demand_features(replace(panel, observed=observed), surroundings, 449, 449).level[:, 0]
    kin = (panel.item_codes == panel.item_codes[new]) & (np.arange(panel.size) != new)
    assert level[kin].min() < level[new] < level[kin].max()


def test_the_same_holiday_of_a_year_before_is_found_where_holidays_move() -> None:
    holidays = np.zeros(800, dtype=np.bool_)
    holidays[[100, 101, 130]] = True  # two in a row and one alone
    holidays[[455, 456, 497]] = True  # a year and ten days earlier or two days later
    offset, source = same_holiday(holidays, ahead=1)
    assert source[455] == 100
    assert source[456] == 101
    assert source[457] == 102
    assert offset[457] == 1
    assert source[497] == 130
    assert source[300] == -1
    assert np.isnan(offset[300])
