"""What is known before an order about the demand that it is for: one row per pair and day.

Everything is measured against the pair's own recent level on the same weekday, so that places of
any size are learned from together. A row for a day and `ahead` days to it reads no unit of a later
day than `ahead` days before; only what is known beforehand (calendar, holidays, promotions) is
read up to the day and beyond.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from larder.learning.frames import Bools, Days, Floats, Ints
from larder.learning.panel import Panel
from larder.learning.rolling import (
    divided,
    fitted,
    mean_of,
    rolling_mean,
    rolling_sum,
    shifted,
)

PACE_DECAY = 0.985
PACE_PRIOR_DAYS = 2.0
LEVEL_WEEKS = 24
LEVEL_DECAY = 0.95
GROUP_PRIOR_UNITS = 20.0
PAIR_PRIOR_UNITS = 60.0
SAME_WEEKDAYS = 12
USUAL_DAYS = 28
USUAL_PRIOR_DAYS = 7.0
EVENT_PRIOR_DAYS = 2.0
NEIGHBOUR_DAYS = 3
YEAR_DAYS = 365
YEAR_SLACK_DAYS = 16
FAR_DAYS = 30
LEAST_AVAILABLE = 0.25
LEAST_LEVEL = 0.05
MOST_RATIO = 6.0

Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Surroundings:
    """Hold what is known about S pairs besides their units.

    `events` are known before they happen and span D days of the panel and those ahead of it
    (S, at least D + ahead): 0 or 1, such as a promotion. `holidays`, one of them, also come back
    about a year later. `signals` are known at the close of a day (S, D), such as the weather.
    `places` are what does not change (S,): numbers, or codes of names. `groups` (S,) are codes
    0 … G - 1 of pairs whose weekdays are alike, the widest group first (a region, a place, a
    category of a place); without any, a place.
    """

    holidays: Floats
    events: Mapping[str, Floats] = field(default_factory=dict)
    signals: Mapping[str, Floats] = field(default_factory=dict)
    places: Mapping[str, Floats] = field(default_factory=dict)
    groups: Sequence[Ints] = ()


@dataclass(frozen=True)
class Features:
    """Hold F features of S pairs on K days.

    `values` (S, K, F), NaN where nothing is known; `level` (S, K) the units expected on a usual
    day of that weekday, above 0, which labels and lags are divided by.
    """

    names: tuple[str, ...]
    values: Matrix
    level: Floats


def demand_features(
    panel: Panel, surroundings: Surroundings, first: int, last: int, ahead: int = 1
) -> Features:
    """Describe the days `first` to `last` (columns of the panel, or after it) of every pair.

    Args:
        panel: what happened; a day may be up to `ahead` columns after its last one.
        surroundings: what is known about the pairs and the days besides.
        ahead: days from the last day that may be read to the day described, at least 1.

    Raises:
        ValueError: a day is further ahead than that, or its events are not given.
    """
    if not ahead >= 1 or not 0 <= first <= last < panel.width + ahead:
        raise ValueError(
            f"days {first} to {last} cannot be described {ahead} days ahead "
            f"of a panel of {panel.width} days"
        )
    width = last + 1
    events = {"is_holiday": surroundings.holidays, **surroundings.events}
    for name, cells in events.items():
        if cells.shape[1] < width:
            raise ValueError(f"{name} is known for {cells.shape[1]} days, {width} are needed")
    history = _History(panel, surroundings, first, width, ahead)
    # copied, so that the days before, which are not described, are not kept
    parts = {
        name: cells[:, first - width :].astype(np.float32)
        for group in (
            _own(history),
            _of_kin(history),
            _calendar(history),
            _events(history, events),
            _holidays(history),
            _signals(history),
        )
        for name, cells in group
    }
    for name, codes in surroundings.places.items():
        parts[name] = np.broadcast_to(
            codes.astype(np.float32)[:, None], (panel.size, width - first)
        )
    values = np.empty((panel.size, width - first, len(parts)), dtype=np.float32)
    for number, part in enumerate(parts.values()):
        values[:, :, number] = part
    return Features(tuple(parts), values, history.level[:, first:width])


class _History:
    """Hold the units of the panel up to the last day described, and how to look back on them."""

    def __init__(
        self, panel: Panel, surroundings: Surroundings, first: int, width: int, ahead: int
    ) -> None:
        self.ahead = ahead
        self.first = first
        self.width = width
        self.panel = panel
        self.surroundings = surroundings
        self.dates = _dates(panel, width)
        self.holidays = surroundings.holidays[:, :width] > 0
        self.weeks_back = -(-ahead // 7)
        seen = fitted(np.where(panel.observed, panel.available, 0.0), width)
        sold = fitted(np.where(panel.observed, panel.sold, 0.0), width)
        self.exposure = np.nan_to_num(seen)
        self.sold = np.where(self.exposure > 0, np.nan_to_num(sold), 0.0)
        self.wanted = np.where(
            self.exposure > 0, self.sold / np.maximum(self.exposure, LEAST_AVAILABLE), np.nan
        )
        self.popularity = np.ones(self.sold.shape)  # units per available day, beside all items
        self.usual = self._usual()
        # what was expected of each day the day before, and of a day further ahead
        self.expected = self._level(1, 1)
        self.level = self._level(ahead, self.weeks_back)
        self.ratio = np.clip(self.wanted / self.expected, 0.0, MOST_RATIO)

    def ago(self, cells: Floats, days: int) -> Floats:
        """Look back from the last day that may be read: 0 is that day."""
        return shifted(cells, self.ahead + days)

    def weeks_ago(self, cells: Floats, weeks: int) -> Floats:
        """Look back from the day itself to its weekday: 1 is the last one that may be read."""
        return shifted(cells, 7 * (self.weeks_back + weeks - 1))

    def _usual(self) -> Floats:
        """Estimate units wanted a day from the 28 before, shrunk to item and place."""
        sold, exposure = (
            rolling_sum(shifted(cells, 1), USUAL_DAYS) for cells in (self.sold, self.exposure)
        )
        items, places = self.panel.item_codes, self.panel.location_codes
        item_sold, item_exposure = _totals(sold, items), _totals(exposure, items)
        total = item_exposure.sum(axis=0)
        overall = np.divide(item_sold.sum(axis=0), total, out=np.zeros(self.width), where=total > 0)
        of_item = (item_sold + USUAL_PRIOR_DAYS * overall) / (item_exposure + USUAL_PRIOR_DAYS)
        # beside all items, so that a season is not mistaken for it
        self.popularity = (of_item / np.maximum(overall, LEAST_LEVEL))[items]
        usual = of_item[items]
        # a place of any size sells so many times what these items sell elsewhere
        wanted, prior = _totals(exposure * usual, places), USUAL_PRIOR_DAYS * overall
        size = divided(_totals(sold, places) + prior, wanted + prior)
        usual = usual * np.where(np.isfinite(size), size, 1.0)[places]
        return np.asarray((sold + USUAL_PRIOR_DAYS * usual) / (exposure + USUAL_PRIOR_DAYS))

    def _level(self, ahead: int, weeks_back: int) -> Floats:
        """Multiply the pair's pace by what its weekday asks for, holidays left out.

        How much more than on any day is asked for on a weekday comes from the last 24 of them,
        newer ones weighing more: of all pairs, then of each group shrunk to the one around it,
        last of the pair itself (Gamma-Poisson; Gelman et al., Bayesian Data Analysis, 2.6).
        """
        sold = np.where(self.holidays, 0.0, self.sold)
        exposure = np.where(self.holidays, 0.0, self.exposure)
        expected = self._pace(sold, exposure, 1) * exposure
        of_weekday, of_any = np.zeros(sold.shape), np.zeros(sold.shape)
        for week in range(LEVEL_WEEKS):
            for total, cells in ((of_weekday, sold), (of_any, expected)):
                total += LEVEL_DECAY**week * np.nan_to_num(shifted(cells, 7 * (weeks_back + week)))
        everybody = np.zeros(self.panel.size, dtype=np.int64)
        groups = self.surroundings.groups or (self.panel.location_codes,)
        factor = np.ones(sold.shape)
        for codes in (everybody, *groups):
            more, usual = (_totals(cells, codes)[codes] for cells in (of_weekday, of_any))
            factor = (more + GROUP_PRIOR_UNITS * factor) / (usual + GROUP_PRIOR_UNITS)
        factor = (of_weekday + PAIR_PRIOR_UNITS * factor) / (of_any + PAIR_PRIOR_UNITS)
        return np.asarray(np.maximum(self._pace(sold, exposure, ahead) * factor, LEAST_LEVEL))

    def _pace(self, sold: Floats, exposure: Floats, ahead: int) -> Floats:
        """Average units a day so far, newer days weighing more, shrunk to what is usual."""
        usual = np.nan_to_num(shifted(self.usual, ahead - 1))
        units, days = np.zeros(self.panel.size), np.zeros(self.panel.size)
        pace = np.empty(sold.shape)
        for day in range(self.width):
            if day >= ahead:
                units = PACE_DECAY * units + sold[:, day - ahead]
                days = PACE_DECAY * days + exposure[:, day - ahead]
            pace[:, day] = (units + PACE_PRIOR_DAYS * usual[:, day]) / (days + PACE_PRIOR_DAYS)
        return pace


# Each of all days (S, K), or of those described alone, where more would cost much.
Group = Iterator[tuple[str, Floats]]


def _own(history: _History) -> Group:
    """Yield what the pair itself has done lately."""
    ratio, level = history.ratio, history.level
    for days in (0, 1, 2, 3, 4, 5, 6, 13):
        yield f"ratio_{days}_days_ago", history.ago(ratio, days)
    for weeks in range(1, 7):
        yield f"same_weekday_{weeks}", history.weeks_ago(history.wanted, weeks) / level
    for days in (3, 7, 14, 28):
        yield f"ratio_mean_{days}_days", history.ago(rolling_mean(ratio, days), 0)
    squares = history.ago(rolling_mean(ratio**2, 28), 0)
    mean = history.ago(rolling_mean(ratio, 28), 0)
    yield "ratio_scatter_28_days", np.sqrt(np.maximum(squares - mean**2, 0.0))
    same = np.stack(
        [
            history.weeks_ago(history.wanted, weeks)[:, history.first :]
            for weeks in range(1, SAME_WEEKDAYS + 1)
        ]
    )
    same_level = level[:, history.first :]
    count = np.isfinite(same).sum(axis=0)
    known = count > 0
    ordered = np.sort(same, axis=0)  # NaN last
    top = np.maximum(count - 1, 0)[None]
    for name, at in (("least", 0 * top), ("median", top // 2), ("most", top)):
        value = np.take_along_axis(ordered, at, axis=0)[0]
        yield f"same_weekday_{name}", np.where(known, value, np.nan) / same_level
    middle = np.nansum(same, axis=0) / np.maximum(count, 1)
    scatter = np.sqrt(np.nansum((same - middle) ** 2, axis=0) / np.maximum(count, 1))
    yield "same_weekday_scatter", np.where(known, scatter, np.nan) / same_level
    none = np.where(np.isfinite(same[:8]), same[:8] == 0, np.nan)
    yield "same_weekday_without_demand", mean_of(none)
    yield "weekdays_known", count.astype(np.float64)
    yield "log_level", np.log(level)
    usual = np.maximum(history.ago(history.usual, -1), LEAST_LEVEL)
    yield "level_to_usual", level / usual
    yield "trend_90_days", history.ago(rolling_mean(history.wanted, 90), 0) / usual
    out = fitted(
        np.where(history.panel.observed, history.panel.stocked_out, np.nan), level.shape[1]
    )
    yield "stocked_out_share", history.ago(rolling_mean(out, 14), 0)
    yield (
        "available_share",
        history.ago(rolling_mean(np.where(history.exposure > 0, history.exposure, np.nan), 28), 0),
    )


def _of_kin(history: _History) -> Group:
    """Yield what is asked for of the item everywhere, of all items here, and a year ago."""
    panel = history.panel
    for name, codes in (("item", panel.item_codes), ("place", panel.location_codes)):
        ratio = kin_ratio(history, codes)
        for days in (0, 1, 2, 6):
            yield f"{name}_ratio_{days}_days_ago", history.ago(ratio, days)
        yield f"{name}_ratio_mean_7_days", history.ago(rolling_mean(ratio, 7), 0)
        for weeks in (51, 52, 53):
            if 7 * weeks >= history.ahead:
                yield f"{name}_ratio_{weeks}_weeks_ago", shifted(ratio, 7 * weeks)
    yield "ratio_52_weeks_ago", shifted(history.ratio, 7 * 52)
    yield "popularity", np.log(np.maximum(history.ago(history.popularity, -1), LEAST_LEVEL))


def _calendar(history: _History) -> Group:
    """Yield weekday and season."""
    days = history.dates.astype(np.int64)
    years = history.dates.astype("datetime64[Y]")
    months = history.dates.astype("datetime64[M]")
    yield "weekday", ((days + 3) % 7).astype(np.float64)
    # a season that was never seen before could only be mistaken for a trend
    season = (history.dates - years).astype(np.float64)
    yield "day_of_year", np.where(history.panel.width > YEAR_DAYS, season, np.nan)
    yield "day_of_month", (history.dates - months).astype(np.float64)


def _events(history: _History, events: Mapping[str, Floats]) -> Group:
    """Yield each event on the day and around it, how usual it is, and what it did before."""
    holidays = history.holidays
    for name, cells in events.items():
        flag = np.asarray(cells[:, : history.width], dtype=np.float64)
        for days in (-3, -2, -1, 0, 1, 2, 3):
            source = cells if days > 0 else flag
            moved = shifted(np.asarray(source, dtype=np.float64), -days)[:, : history.width]
            yield f"{name}_{days:+d}_days" if days else name, moved
        yield f"{name}_a_week_ago", shifted(flag, 7)
        weeks = [shifted(flag, 7 * week)[:, history.first :] for week in range(1, 9)]
        yield f"{name}_usual", mean_of(np.stack(weeks))
        alone = flag > 0 if name == "is_holiday" else (flag > 0) & ~holidays
        yield from _effects(history, name, alone)
    before = (np.nan_to_num(shifted(history.holidays.astype(float), -1)) > 0) & ~holidays
    after = (np.nan_to_num(shifted(history.holidays.astype(float), 1)) > 0) & ~holidays
    yield from _effects(history, "before_holiday", before)
    yield from _effects(history, "after_holiday", after)


def _effects(history: _History, name: str, when: Bools) -> Group:
    """Yield the ratio on such days so far: of the item, and of the pair shrunk to it."""
    items = history.panel.item_codes
    seen = when & np.isfinite(history.ratio)
    level = np.where(seen, history.expected, 0.0)
    units = np.where(seen, history.ratio, 0.0) * level
    of_item = divided(*(np.cumsum(_totals(cells, items), axis=1) for cells in (units, level)))[
        items
    ]
    yield f"{name}_effect_of_item", history.ago(of_item, 0)
    own = np.cumsum(np.where(seen, history.ratio, 0.0), axis=1)
    days = np.cumsum(seen, axis=1)
    prior = np.where(np.isfinite(of_item), of_item, 1.0)
    yield (
        f"{name}_effect",
        history.ago((own + EVENT_PRIOR_DAYS * prior) / (days + EVENT_PRIOR_DAYS), 0),
    )


def _holidays(history: _History) -> Group:
    """Yield how far holidays are, and the ratios around the same one a year before."""
    shape = history.holidays.shape
    offset, source = np.full(shape, np.nan), np.full(shape, -1, dtype=np.int64)
    following, previous = np.full(shape, float(FAR_DAYS)), np.full(shape, float(FAR_DAYS))
    known = np.asarray(history.surroundings.holidays > 0)
    patterns, of_pair = np.unique(known, axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        rows = of_pair.reshape(-1) == number
        near, a_year_ago = same_holiday(pattern, history.ahead)
        offset[rows], source[rows] = near[: shape[1]], a_year_ago[: shape[1]]
        before, after = _distances(pattern)
        previous[rows], following[rows] = before[: shape[1]], after[: shape[1]]
    yield "days_from_holiday", offset
    yield "days_since_holiday", previous
    yield "days_to_holiday", following
    item = kin_ratio(history, history.panel.item_codes)
    for name, ratio in (("item_ratio", item), ("ratio", history.ratio)):
        found = np.take_along_axis(ratio, np.maximum(source, 0), axis=1)
        yield f"{name}_at_the_same_holiday", np.where(source >= 0, found, np.nan)


def _signals(history: _History) -> Group:
    """Yield the newest value of each signal, its week, and how far it is from the last weeks."""
    for name, cells in history.surroundings.signals.items():
        value = fitted(cells, history.width)
        newest = history.ago(value, 0)
        yield name, newest
        yield f"{name}_mean_7_days", history.ago(rolling_mean(value, 7), 0)
        yield f"{name}_change", newest - history.ago(rolling_mean(value, 56), 0)


def kin_ratio(history: _History, codes: Ints) -> Floats:
    """Compute units wanted by unit expected, of all pairs that share a code (S, K)."""
    seen = np.isfinite(history.wanted)
    wanted, expected = (
        _totals(np.where(seen, cells, 0.0), codes) for cells in (history.wanted, history.expected)
    )
    return np.asarray(divided(wanted, expected)[codes])


def _totals(cells: Floats, codes: Ints) -> Floats:
    """Add up the rows of each code 0 … G - 1 (G, K)."""
    sums = np.zeros((int(codes.max(initial=-1)) + 1, cells.shape[1]))
    np.add.at(sums, codes, cells)
    return sums


def same_holiday(holidays: Bools, ahead: int) -> tuple[Floats, Ints]:
    """Find, for each day near a holiday, the like day near the like holiday a year before.

    Holidays move: the like one lies within 16 days of a year before, and has neighbours as this
    one has; of several, the nearest.

    Args:
        holidays: (D,) whether a day is a holiday.
        ahead: the like day must be at least so many days before.

    Returns:
        Days after (before, if negative) the holiday (D,), NaN where none is within 3 days; the
        column of the like day (D,), -1 where there is none.
    """
    at = np.flatnonzero(holidays)
    offset, source = np.full(len(holidays), np.nan), np.full(len(holidays), -1, dtype=np.int64)
    padded = np.concatenate([[False], holidays, [False]])
    reach = sorted(range(-NEIGHBOUR_DAYS, NEIGHBOUR_DAYS + 1), key=lambda days: (abs(days), days))
    for day in range(len(holidays)):
        near = next(
            (
                day - days
                for days in reach
                if 0 <= day - days < len(holidays) and holidays[day - days]
            ),
            None,
        )
        if near is None:
            continue
        offset[day] = day - near
        gap = np.abs(at - (near - YEAR_DAYS))
        like = (padded[at] == padded[near]) & (padded[at + 2] == padded[near + 2])
        column = at + (day - near)
        usable = (gap <= YEAR_SLACK_DAYS) & (column >= 0) & (column <= day - ahead)
        if usable.any():
            best = np.flatnonzero(usable)[np.lexsort((gap[usable], ~like[usable]))[0]]
            source[day] = column[best]
    return offset, source


def _distances(holidays: Bools) -> tuple[Floats, Floats]:
    """Count the days since the last holiday, and to the next; 30 where it is further."""
    days = np.arange(len(holidays), dtype=np.float64)
    far = np.full(len(holidays), np.inf)
    before, after = far.copy(), far.copy()
    bounds = [-1, *np.flatnonzero(holidays).tolist(), len(holidays)]
    for left, right in pairwise(bounds):
        # a holiday itself counts from the one before it, and to the one after it
        if left >= 0:
            before[left + 1 : right + 1] = days[left + 1 : right + 1] - left
        if right < len(holidays):
            after[max(left, 0) : right] = right - days[max(left, 0) : right]
    return np.minimum(before, FAR_DAYS), np.minimum(after, FAR_DAYS)


def _dates(panel: Panel, width: int) -> Days:
    """Give the date of each pair's columns (S, K)."""
    return np.asarray(
        panel.as_of[:, None] + (np.arange(width) - (panel.width - 1)).astype("timedelta64[D]")
    )
