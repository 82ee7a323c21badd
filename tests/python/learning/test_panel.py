"""The panel: dates become columns, and only what was known gets one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from larder.learning.panel import read_panel, shelf_lives


def row(item: str, day: str, as_of: str = "2025-03-10", **changes: Any) -> dict[str, Any]:
    return {
        "location_id": "a",
        "item_id": item,
        "stock_date": pd.Timestamp(day),
        "as_of_date": pd.Timestamp(as_of),
        "sold_units": 1,
        "discarded_units": 0,
        "adjusted_units": 0,
        "closing_units": 4,
        "is_stocked_out": False,
        "stocked_out_minutes": 0,
        "open_minutes": 960,
        **changes,
    }


def test_the_last_column_is_each_pairs_own_as_of_day() -> None:
    panel = read_panel(
        pd.DataFrame(
            [
                row("x", "2025-03-08", sold_units=5),
                row("x", "2025-03-10", sold_units=7),
                row("x", "2025-03-11", sold_units=99),
                row("y", "2025-03-11", "2025-03-11", sold_units=3),
            ]
        )
    )
    assert panel.sold.tolist() == [[5, 0, 7], [0, 0, 3]]
    assert panel.observed.tolist() == [[True, False, True], [False, False, True]]
    assert panel.until(0).as_of.astype(str).tolist() == ["2025-03-08", "2025-03-09"]
    assert panel.positions(np.array(["a", "a"]), np.array(["y", "z"])).tolist() == [1, -1]


def test_days_beyond_the_history_are_left_out() -> None:
    frame = pd.DataFrame([row("x", "2025-03-10"), row("x", "2024-03-10")])
    assert read_panel(frame).width == 1
    assert read_panel(frame, history_days=400).width == 366


@pytest.mark.parametrize(
    ("open_minutes", "stocked_out_minutes", "available"),
    [
        (960, 0, 1.0),
        (960, 240, 0.75),
        (960, 2000, 0.0),
        (0, 0, 0.0),
        (None, 10, 0.0),
        (960, None, 1),
    ],
    ids=["all day", "a quarter", "too many", "closed", "hours unknown", "minutes unknown"],
)
def test_the_share_of_the_day_with_stock(
    open_minutes: float | None, stocked_out_minutes: float | None, available: float
) -> None:
    frame = pd.DataFrame(
        [
            row(
                "x",
                "2025-03-10",
                open_minutes=open_minutes,
                stocked_out_minutes=stocked_out_minutes,
            )
        ]
    )
    assert read_panel(frame).available.tolist() == [[available]]


def test_a_deleted_item_takes_the_longest_shelf_life() -> None:
    panel = read_panel(pd.DataFrame([row(item, "2025-03-10") for item in ("x", "y", "z")]))
    items = pd.DataFrame({"item_id": ["x", "y"], "shelf_life_days": [2, 5]})
    assert shelf_lives(panel, items).tolist() == [2, 5, 5]
    assert shelf_lives(panel, items.head(0)).tolist() == [1, 1, 1]
