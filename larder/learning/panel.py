"""The stock days of all pairs as matrices: a row a pair, a column a day up to its as-of day."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from larder.learning.frames import Bools, Days, Floats, Ints, Texts, days, flags, numbers, texts

HISTORY_DAYS = 180


@dataclass(frozen=True)
class Panel:
    """Hold S pairs by D days; the last column is each pair's as-of day, the last closed one.

    Pairs are sorted by location, then item, so the order of input rows never matters. Units are
    pieces; `available` is the share of the opening minutes with stock, from 0 to 1.
    """

    location_ids: Texts
    item_ids: Texts
    location_codes: Ints
    item_codes: Ints
    as_of: Days
    restocked: Floats
    sold: Floats
    discarded: Floats
    missing: Floats
    closing: Floats
    available: Floats
    stocked_out: Bools
    observed: Bools

    @property
    def size(self) -> int:
        """The number of pairs."""
        return len(self.as_of)

    @property
    def width(self) -> int:
        """The number of days."""
        return int(self.sold.shape[1])

    def until(self, column: int) -> Panel:
        """Return what was known at the close of one column; nothing later is reachable from it."""
        return replace(
            self.columns(0, column + 1),
            as_of=self.as_of - np.timedelta64(self.width - 1 - column, "D"),
        )

    def columns(self, start: int, stop: int) -> Panel:
        """Return the days from start up to, not including, stop; `as_of` stays what it was."""
        return replace(
            self,
            restocked=self.restocked[:, start:stop],
            sold=self.sold[:, start:stop],
            discarded=self.discarded[:, start:stop],
            missing=self.missing[:, start:stop],
            closing=self.closing[:, start:stop],
            available=self.available[:, start:stop],
            stocked_out=self.stocked_out[:, start:stop],
            observed=self.observed[:, start:stop],
        )

    def positions(self, location_ids: Texts, item_ids: Texts) -> Ints:
        """Find the row of each pair; -1 for a pair without any stock day."""
        return np.asarray(
            pd.MultiIndex.from_arrays([self.location_ids, self.item_ids]).get_indexer(
                pd.MultiIndex.from_arrays([location_ids, item_ids])
            ),
            dtype=np.int64,
        )


def read_panel(
    days_seen: pd.DataFrame, pairs: pd.DataFrame, history_days: int = HISTORY_DAYS
) -> Panel:
    """Lay the rows of `int_stock__score_days` out as matrices, a row for each of the pairs.

    `pairs` are the rows of `int_stock__score_pairs`; one without a day has no row. Days after a
    pair's as_of_date (`days_ago` below 0), or older than `history_days`, are left out: a later
    day can therefore never reach a score. Time O(rows); memory 9 matrices of 8 bytes a cell.
    """
    age = numbers(days_seen, "days_ago").astype(np.int64)
    kept = (age >= 0) & (age < history_days)
    width = int(age[kept].max()) + 1 if kept.any() else 0
    rows = days_seen if kept.all() else days_seen.loc[kept]
    pairs = pairs.sort_values(["location_id", "item_id"])
    position = pd.Index(pairs["pair_number"]).get_indexer(rows["pair_number"])
    is_present = np.bincount(position, minlength=len(pairs)) > 0
    row = (np.cumsum(is_present) - 1)[position]
    pairs = pairs.loc[is_present]
    location_codes, locations = pd.factorize(texts(pairs, "location_id"), sort=True)
    item_codes, items = pd.factorize(texts(pairs, "item_id"), sort=True)
    column = width - 1 - age[kept]
    shape = (len(pairs), width)

    def matrix(values: Floats) -> Floats:
        cells = np.zeros(shape)
        cells[row, column] = np.nan_to_num(values)
        return cells

    observed = np.zeros(shape, dtype=np.bool_)
    observed[row, column] = True
    stocked_out = np.zeros(shape, dtype=np.bool_)
    stocked_out[row, column] = flags(rows, "is_stocked_out")
    open_minutes = numbers(rows, "open_minutes")
    with np.errstate(divide="ignore", invalid="ignore"):
        closed_share = numbers(rows, "stocked_out_minutes") / open_minutes
    # a day without opening hours tells nothing about demand
    available = np.where(open_minutes > 0, 1.0 - np.clip(np.nan_to_num(closed_share), 0, 1), 0.0)
    return Panel(
        location_ids=np.asarray(locations, dtype=object)[location_codes],
        item_ids=np.asarray(items, dtype=object)[item_codes],
        location_codes=location_codes.astype(np.int64),
        item_codes=item_codes.astype(np.int64),
        as_of=days(pairs, "as_of_date"),
        restocked=matrix(np.maximum(numbers(rows, "restocked_units"), 0)),
        sold=matrix(np.maximum(numbers(rows, "sold_units"), 0)),
        discarded=matrix(np.maximum(numbers(rows, "discarded_units"), 0)),
        missing=matrix(np.maximum(-numbers(rows, "adjusted_units"), 0)),
        closing=matrix(np.maximum(numbers(rows, "closing_units"), 0)),
        available=matrix(available),
        stocked_out=stocked_out,
        observed=observed,
    )


def shelf_lives(panel: Panel, items: pd.DataFrame) -> Ints:
    """Read each pair's shelf life in days, at least 1, from rows of item_id and shelf_life_days.

    An item that the rows do not name (it was deleted) takes the longest known shelf life, so that
    no risk is left out.
    """
    known = (
        pd.Series(numbers(items, "shelf_life_days"), index=texts(items, "item_id"))
        .dropna()
        .groupby(level=0)
        .max()
    )
    longest = float(known.max()) if len(known) else 1.0
    found = known.reindex(panel.item_ids).fillna(longest).to_numpy(dtype=np.float64)
    return np.maximum(found, 1).astype(np.int64)
