"""Frames: one reader for both engines, typed tables, and rows that are never rewritten."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from larder.learning import frames


class Snowpark:
    """Answer as a Snowpark frame does: upper-case names, dates and decimals as objects."""

    def to_pandas(self) -> pd.DataFrame:
        """Return the rows."""
        day = datetime.date(2025, 1, 2)
        return pd.DataFrame(
            {"AS_OF_DATE": [day, None], "UNITS": [Decimal("1.5"), None], "IS_OUT": [True, None]}
        )


def test_a_snowpark_frame_is_read_like_any_other() -> None:
    frame = frames.to_pandas(Snowpark())
    assert frame.columns.tolist() == ["as_of_date", "units", "is_out"]
    assert frames.days(frame, "as_of_date").astype(str).tolist() == ["2025-01-02", "NaT"]
    assert frames.numbers(frame, "units")[0] == 1.5
    assert np.isnan(frames.numbers(frame, "units")[1])
    assert frames.flags(frame, "is_out").tolist() == [True, False]


def test_columns_are_upper_case_on_snowflake_only() -> None:
    frame = pd.DataFrame({"item_id": ["x"]})
    snowflake: Any = type("Session", (), {"__module__": "snowflake.snowpark.session"})()
    assert frames.for_engine(frame, snowflake).columns.tolist() == ["ITEM_ID"]
    assert frames.for_engine(frame, object()).columns.tolist() == ["item_id"]


def test_known_keys_are_left_out_whatever_the_engines_date_type() -> None:
    schema = {"item_id": frames.TEXT, "as_of_date": frames.DATE}
    days = np.array(["2025-01-01", "2025-01-02"], dtype="datetime64[D]")
    new = frames.table({"item_id": ["x", "x"], "as_of_date": days}, schema)
    known = pd.DataFrame({"item_id": ["x"], "as_of_date": [datetime.date(2025, 1, 1)]})
    keys = ["item_id", "as_of_date"]
    for there in (known, known.assign(as_of_date=pd.Timestamp("2025-01-01"))):
        left = frames.without_known(new, there, keys)
        assert left["as_of_date"].astype(str).tolist() == ["2025-01-02"]
    assert len(frames.without_known(new, None, keys)) == 2
    assert len(frames.without_known(new, known.head(0), keys)) == 2
