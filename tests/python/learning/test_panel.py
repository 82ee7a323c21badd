"""The panel: dates become columns, and only what was known gets one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from larder.learning.panel import read_panel, shelf_lives

AS_OF = "2025-03-10"


def row(pair: int, days_ago: int, **changes: Any) -> dict[str, Any]:
    return {
        "pair_number": pair,
        "days_ago": days_ago,
        "restocked_units": 0,
        "sold_units": 1,
        "discarded_units": 0,
        "adjusted_units": 0,
        "closing_units": 4,
        "is_stocked_out": False,
        "stocked_out_minutes": 0,
        "open_minutes": 960,
        **changes,
    }


def pairs(*items: str, as_of: tuple[str, ...] = (AS_OF, AS_OF, AS_OF)) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "pair_number": range(len(items)),
            "location_id": "a",
            "item_id": items,
            "as_of_date": pd.to_datetime(list(as_of[: len(items)])),
        }
    )


def test_the_last_column_is_each_pairs_own_as_of_day() -> None:
    panel = read_panel(
        pd.DataFrame(
            [
                row(1, 2, sold_units=5, restocked_units=6),
                row(1, 0, sold_units=7, restocked_units=-2),
                row(1, -1, sold_units=99),
                row(0, 0, sold_units=3),
            ]
        ),
        pairs("y", "x", as_of=("2025-03-11", AS_OF)),
    )
    assert panel.item_ids.tolist() == ["x", "y"]
    assert panel.sold.tolist() == [[5, 0, 7], [0, 0, 3]]
    # a delivery that was taken back is none
    assert panel.restocked.tolist() == [[6, 0, 0], [0, 0, 0]]
    assert panel.observed.tolist() == [[True, False, True], [False, False, True]]
    assert panel.until(0).as_of.astype(str).tolist() == ["2025-03-08", "2025-03-09"]
    assert panel.positions(np.array(["a", "a"]), np.array(["y", "z"])).tolist() == [1, -1]


def test_days_beyond_the_history_and_pairs_without_a_day_are_left_out() -> None:
    frame = pd.DataFrame([row(0, 0), row(0, 365), row(1, 200)])
    panel = read_panel(frame, pairs("x", "y", "z"))
    assert (panel.width, panel.item_ids.tolist()) == (1, ["x"])
    assert read_panel(frame, pairs("x", "y", "z"), history_days=400).sold.shape == (2, 366)


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
    day = row(0, 0, open_minutes=open_minutes, stocked_out_minutes=stocked_out_minutes)
    assert read_panel(pd.DataFrame([day]), pairs("x")).available.tolist() == [[available]]


def test_a_deleted_item_takes_the_longest_shelf_life() -> None:
    panel = read_panel(pd.DataFrame([row(pair, 0) for pair in range(3)]), pairs("x", "y", "z"))
    items = pd.DataFrame({"item_id": ["x", "y"], "shelf_life_days": [2, 5]})
    assert shelf_lives(panel, items).tolist() == [2, 5, 5]
    assert shelf_lives(panel, items.head(0)).tolist() == [1, 1, 1]
