"""What trees may depend on."""

from __future__ import annotations

from larder.learning.features import YEAR_DAYS
from larder.learning.trees import scatter_names


def test_scatter_knows_no_event_before_a_year_is_over() -> None:
    names = ("ratio_mean_7_days", "is_holiday", "days_to_holiday", "rain", "location", "weekday")
    assert scatter_names(names, YEAR_DAYS) == names
    assert scatter_names(names, YEAR_DAYS - 1) == ("ratio_mean_7_days", "weekday")
