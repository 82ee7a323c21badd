"""The real demand of a bakery chain, which says how much is wanted where and when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from importlib.resources import files
from typing import Final

import numpy as np
import pyarrow.parquet as pq

from loaders.sample.arrays import EPOCH, Flags, Floats

HISTORY_DAYS: Final = 1215
"""Days in the shipped demand, 2016-01-02 to 2019-04-30."""
PRODUCTS: Final = (101, 110, 109)


@dataclass(frozen=True)
class Demand:
    """Hold the real demand: `units[store, product, day]`, and what is known about each day."""

    stores: tuple[int, ...]
    first_date: date
    units: Floats
    rain: Floats
    temperature: Floats
    is_holiday: Flags
    is_school_holiday: Flags
    is_promoted: Flags  # [product, day]: the chain promotes a product everywhere at once


def read_demand() -> Demand:
    """Read the real bakery demand; the weekday column of the source is wrong and not read."""
    with files("loaders.sample").joinpath("bakery_demand.parquet").open("rb") as source:
        table = pq.ParquetFile(source).read()
    # Named columns only; sorted here, so that nothing hangs on the order in the file.
    column = {
        name: table.column(name).to_numpy()
        for name in (
            "store", "product", "demand", "rain", "temperature",
            "is_holiday", "is_schoolholiday", "promotion_currentweek",
        )
    }  # fmt: skip
    days = table.column("date").cast("date32").cast("int32").to_numpy().astype(np.int64)
    stores, store_at = np.unique(column["store"], return_inverse=True)
    product_at = np.searchsorted(np.sort(PRODUCTS), column["product"])
    product_at = np.argsort(PRODUCTS)[product_at]
    first = int(days.min())

    def cube(name: str) -> Floats:
        values = np.zeros((len(stores), len(PRODUCTS), HISTORY_DAYS))
        values[store_at, product_at, days - first] = column[name]
        return values

    return Demand(
        stores=tuple(int(store) for store in stores),
        first_date=EPOCH + timedelta(days=first),
        units=cube("demand"),
        rain=cube("rain")[:, 0],
        temperature=cube("temperature")[:, 0],
        is_holiday=cube("is_holiday")[:, 0] > 0,
        is_school_holiday=cube("is_schoolholiday")[:, 0] > 0,
        is_promoted=cube("promotion_currentweek").max(axis=0) > 0,
    )
