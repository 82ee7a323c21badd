"""Anybody's series become a panel, whatever the order of the rows, or say what is wrong."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from demand_series import make_frame

from larder.learning.series import read_series


def test_the_order_of_rows_and_columns_does_not_matter() -> None:
    frame = make_frame(seed=2, days=40)
    shuffled = frame.sample(frac=1, random_state=3)[frame.columns[::-1]]
    (panel, around), (other, other_around) = read_series(frame), read_series(shuffled)
    np.testing.assert_array_equal(panel.sold, other.sold)
    np.testing.assert_array_equal(panel.location_ids, other.location_ids)
    np.testing.assert_array_equal(around.holidays, other_around.holidays)
    np.testing.assert_array_equal(around.signals["rain"], other_around.signals["rain"])
    assert set(around.events) == {"is_promoted"}


def test_a_missing_day_is_not_a_day_without_demand() -> None:
    frame = make_frame(seed=2, days=40)
    panel, _ = read_series(frame.drop(index=frame.index[5]))
    assert not panel.observed[0, 5]
    assert panel.observed.sum() == len(frame) - 1


def test_dates_may_be_text() -> None:
    frame = make_frame(seed=2, days=40)
    panel, _ = read_series(frame.assign(date=frame["date"].dt.strftime("%Y-%m-%d")))
    assert (panel.as_of == np.datetime64("2024-02-09")).all()


def test_what_is_wrong_is_said() -> None:
    frame = make_frame(seed=2, days=40)
    with pytest.raises(ValueError, match="this one has no demand_units"):
        read_series(frame.drop(columns="demand_units"))
    with pytest.raises(ValueError, match="two rows for a day"):
        read_series(pd.concat([frame, frame.iloc[:1]]))
