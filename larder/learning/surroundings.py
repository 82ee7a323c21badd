"""What the warehouse knows around the pairs: calendar, promotions, weather, trends, places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from larder.learning.features import Surroundings
from larder.learning.frames import Days, Floats, Ints, Texts, days, flags, numbers, texts
from larder.learning.panel import Panel

TREND_WEEKS: Final = 4
CODES: Final = {
    "location": "location_id",
    "item": "item_id",
    "region": "region",
    "kind": "kind",
    "category": "category",
}
NUMBERS: Final = {"population": "population", "price": "price_usd"}

Codes = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Known:
    """Hold the frames that say what is known around the pairs.

    `pairs` are the rows of `int_stock__score_pairs`, `calendar` of `dim_region_dates`, `promotions`
    of `int_catalog__promoted_times`, `trends` of `int_orders__item_trends`.
    """

    pairs: pd.DataFrame
    calendar: pd.DataFrame
    promotions: pd.DataFrame
    trends: pd.DataFrame


def name_codes(known: Known) -> dict[str, tuple[str, ...]]:
    """List the names of places, items and their kinds, in the order of the codes they get."""
    return {
        code: tuple(sorted(set(known.pairs[column].dropna().astype(str))))
        for code, column in CODES.items()
    }


def read_surroundings(panel: Panel, known: Known, days_after: int, codes: Codes) -> Surroundings:
    """Lay out what is known around the pairs of a panel.

    Args:
        days_after: how many days after the panel's last one are needed, at least 1.
        codes: as `name_codes` gave them when a model was trained; a name that is not among them is
            unknown to the model.
    """
    pairs = known.pairs.assign(
        location_id=texts(known.pairs, "location_id"), item_id=texts(known.pairs, "item_id")
    )
    of_pair = pairs.set_index(["location_id", "item_id"]).reindex(
        pd.MultiIndex.from_arrays([panel.location_ids, panel.item_ids])
    )
    named = {
        "location": panel.location_ids,
        "item": panel.item_ids,
        **{name: of_pair[name].to_numpy(dtype=object) for name in ("region", "kind", "category")},
    }
    coded = {name: _coded(values, codes[name]) for name, values in named.items()}
    dates = panel.as_of[:, None] + np.arange(1 - panel.width, days_after + 1).astype(
        "timedelta64[D]"
    )
    region = np.where(pd.isna(named["region"]), "", named["region"]).astype(str)
    calendar = _Calendar(known.calendar, dates, region)
    weather = {
        name: calendar.read(column)[:, : panel.width]
        for name, column in (("rain", "rain_millimetres"), ("temperature", "temperature_celsius"))
    }
    category = pd.factorize(named["category"])[0]
    of_place = panel.location_codes * (category.max(initial=0) + 2) + category + 1
    return Surroundings(
        holidays=np.nan_to_num(calendar.read("is_holiday")),
        events={
            "is_school_holiday": np.nan_to_num(calendar.read("is_school_holiday")),
            "is_promoted": _promoted(panel, known.promotions, dates),
        },
        signals={**weather, "trend": _trends(panel, known.trends, dates, region)},
        places={
            **coded,
            **{
                name: numbers(of_pair.reset_index(drop=True), column)
                for name, column in NUMBERS.items()
            },
        },
        groups=tuple(
            np.unique(group, return_inverse=True)[1].astype(np.int64)
            for group in (region, panel.location_codes, of_place)
        ),
    )


def _coded(values: Texts, names: tuple[str, ...]) -> Floats:
    """Give each name its place in the list; NaN for one that is not in it."""
    at = pd.Index(names).get_indexer(pd.Index(values))
    return np.where(at >= 0, at, np.nan).astype(np.float64)


class _Calendar:
    """Read columns of the calendar for pairs (S,) and their dates (S, K)."""

    def __init__(self, calendar: pd.DataFrame, dates: Days, region: Texts) -> None:
        self.frame = calendar
        regions = np.unique(region)
        self.first = dates.min() if dates.size else np.datetime64(0, "D")
        last = dates.max() if dates.size else self.first
        self.width = int((last - self.first).astype(np.int64)) + 1
        self.row = np.searchsorted(regions, region)
        self.column = (dates - self.first).astype(np.int64)
        at = pd.Index(regions).get_indexer(pd.Index(texts(calendar, "region")))
        day = (days(calendar, "calendar_date") - self.first).astype(np.int64)
        self.kept = (at >= 0) & (day >= 0) & (day < self.width)
        self.at, self.day = at[self.kept], day[self.kept]
        self.regions = len(regions)

    def read(self, name: str) -> Floats:
        """Return the values (S, K) of a column; NaN where the calendar has no such day."""
        column = self.frame[name]
        values = (
            flags(self.frame, name).astype(np.float64)
            if name.startswith("is_")
            else numbers(self.frame, str(column.name))
        )
        cells = np.full((self.regions, self.width), np.nan)
        cells[self.at, self.day] = values[self.kept]
        return np.asarray(cells[self.row[:, None], self.column])


def _promoted(panel: Panel, promotions: pd.DataFrame, dates: Days) -> Floats:
    """Tell on which days (S, K) a promotion of the item ran at noon, everywhere or at the place."""
    cells = np.zeros(dates.shape)
    noon = dates.astype("datetime64[h]") + np.timedelta64(12, "h")
    starts, ends = (
        pd.to_datetime(promotions[name]).to_numpy(dtype="datetime64[s]")
        for name in ("starts_at", "ends_at")
    )
    everywhere = promotions["location_id"].isna().to_numpy()
    names = zip(texts(promotions, "item_id"), texts(promotions, "location_id"), strict=True)
    for number, (item, location) in enumerate(names):
        rows = panel.item_ids == item
        if not everywhere[number]:
            rows &= panel.location_ids == location
        if rows.any():
            cells[rows] = np.maximum(
                cells[rows], (noon[rows] >= starts[number]) & (noon[rows] < ends[number])
            )
    return cells


def _trends(panel: Panel, trends: pd.DataFrame, dates: Days, region: Texts) -> Floats:
    """Read the trend index (S, D) of the newest week that was over, of the last four."""
    size, width = panel.size, panel.width
    if trends.empty or not size:
        return np.full((size, width), np.nan)
    key = pd.MultiIndex.from_arrays([texts(trends, "region"), texts(trends, "item_id")])
    wanted = pd.MultiIndex.from_arrays([region, panel.item_ids])
    unique = key.unique()
    week = days(trends, "week_start")
    first = week.min()
    weeks = (week - first).astype(np.int64) // 7
    cells = np.full((len(unique), int(weeks.max()) + 1), np.nan)
    cells[unique.get_indexer(key), weeks] = numbers(trends, "trend_index")
    of_pair = unique.get_indexer(wanted)
    over: Ints = ((dates[:, :width] - first).astype(np.int64) - 7) // 7
    found = np.full((size, width), np.nan)
    for back in range(TREND_WEEKS):
        at = over - back
        usable = (of_pair >= 0)[:, None] & (at >= 0) & (at < cells.shape[1]) & np.isnan(found)
        rows, columns = np.nonzero(usable)
        found[rows, columns] = cells[of_pair[rows], at[rows, columns]]
    return found
