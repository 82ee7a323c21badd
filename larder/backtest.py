"""`larder backtest`: what the plan would have saved on the user's own past."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import numpy as np
import pandas as pd

from larder.errors import LarderError
from larder.learning.backtest import (
    FOLLOWING_DAYS,
    SAVING_CONFIDENCE,
    Backtest,
    ReplayedDays,
    Terms,
    backtest,
    replayed_days,
)
from larder.learning.features import Surroundings
from larder.learning.frames import Ints, days, numbers, texts, to_pandas
from larder.learning.orders import unit_costs
from larder.learning.panel import Panel, read_panel
from larder.learning.replay import Outcome
from larder.learning.surroundings import Known, name_codes, read_surroundings
from larder.learning.training import LEAST_DAYS, Learned, enough_history, learn
from larder.learning.waste import horizon_count
from larder.progress import Progress
from larder.serving.built import open_built
from larder.settings import Settings

QUERIES: Final = {
    "days": "select * from intermediate.int_stock__score_days",
    "pairs": "select * from intermediate.int_stock__score_pairs",
    "calendar": "select * from marts.dim_region_dates",
    "promotions": "select * from intermediate.int_catalog__promoted_times",
    "trends": "select * from intermediate.int_orders__item_trends",
    "weekdays": "select calendar_date, weekday from marts.dim_dates",
    # what orders of each pair must keep to; the lead time as in int_orders__candidates
    "terms": """
        select
            location_id,
            item_id,
            location_name,
            item_name,
            restock_weekdays,
            capacity_units,
            pack_size,
            shelf_life_days,
            dim_items.price_usd,
            unit_cost_usd,
            disposal_cost_usd,
            greatest(
                1,
                ceil((order_lead_hours * 60 + closes_minute - opens_minute) / 1440.0)
            ) as lead_days
        from intermediate.int_stock__score_pairs
        inner join marts.dim_items using (item_id)
        inner join marts.dim_locations using (location_id)
        inner join intermediate.int_clock__location_days using (location_id)
    """,
}


FIGURES: Final = {
    "delivered_units": ("units delivered", ",.0f"),
    "sold_units": ("units sold", ",.0f"),
    "missed_units": ("units missed at empty shelves", ",.0f"),
    "fill_rate": ("share of demand that was served", ".1%"),
    "wasted_units": ("units wasted", ",.0f"),
    "cost_usd": ("waste and lost margin (USD)", ",.2f"),
}


class TooLittleHistoryError(LarderError):
    """There is too little to learn from and to replay: days, or items with a price and a cost."""


@dataclass(frozen=True)
class Past:
    """Hold the last days of a build's history, and a model that has learned from those before.

    `first` is the first of them, a column of the panel; `places` are the names of the places in
    the order of its codes, `items` those of the items.
    """

    panel: Panel
    surroundings: Surroundings
    learned: Learned
    terms: Terms
    first: int
    places: tuple[str, ...]
    items: tuple[str, ...]

    def date_of(self, column: int) -> date:
        """Return the day of a column of the panel."""
        ago = np.timedelta64(self.panel.width - 1 - column, "D")
        day: date = (self.panel.as_of.max() - ago).item()
        return day


@dataclass(frozen=True)
class Proof:
    """Hold a backtest and the past that it is of."""

    past: Past
    replayed: ReplayedDays
    result: Backtest

    def figures(self) -> list[tuple[str, str, str]]:
        """Return what is compared, as it was and with the plan, in words."""
        was, new = self._totals(self.result.done), self._totals(self.result.plan)
        return [
            (words, format(was[name], shown_as), format(new[name], shown_as))
            for name, (words, shown_as) in FIGURES.items()
        ]

    def sentences(self) -> list[str]:
        """Say what was saved, how sure that is, and where it was most and least."""
        saving, places = self.result.saving, self.past.places
        kind = "saved" if saving.total >= 0 else "cost, in addition,"
        best, worst = int(saving.by_place.argmax()), int(saving.by_place.argmin())
        return [
            f"The plan would have {kind} {abs(saving.total):,.2f} USD; with 90 % certainty between "
            f"{saving.low:,.2f} and {saving.high:,.2f}.",
            f"Most at {places[best]} ({saving.by_place[best]:,.2f}), least at {places[worst]} "
            f"({saving.by_place[worst]:,.2f}). The plan knew of each day only what was known when "
            "it was ordered; where stock ran out, demand is estimated.",
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the figures for JSON: units, and US dollars over all days, unrounded.

        Places are sorted from the most saved to the least; those of one name are added up.
        """
        past, saving = self.past, self.result.saving
        by_place: dict[str, float] = {}
        for name, saved in zip(past.places, saving.by_place.tolist(), strict=True):
            by_place[name] = by_place.get(name, 0.0) + saved
        most_first = sorted(by_place.items(), key=lambda one: (-one[1], one[0]))
        return {
            "days": self.result.days,
            "first_date": past.date_of(past.first).isoformat(),
            "last_date": past.date_of(past.panel.width - 1).isoformat(),
            "pairs": past.panel.size,
            "as_it_was": self._totals(self.result.done),
            "with_the_plan": self._totals(self.result.plan),
            "saving_usd": {
                "total": saving.total,
                "low": saving.low,
                "high": saving.high,
                "confidence": SAVING_CONFIDENCE,
            },
            "saving_usd_by_place": dict(most_first),
        }

    def _totals(self, side: Outcome) -> dict[str, float]:
        """Add up one side, by the names of `FIGURES`."""
        return {
            "delivered_units": float(side.ordered.sum()),
            "sold_units": float(side.sold.sum()),
            "missed_units": float(side.missed.sum()),
            "fill_rate": side.fill_rate,
            "wasted_units": float(side.wasted.sum()),
            "cost_usd": self.result.cost(side),
        }


def prove(settings: Settings, days: int, progress: Progress) -> Proof:
    """Learn from all but the last days of the build's history, and replay these under the plan.

    Raises:
        TooLittleHistoryError: there is less than that takes.
        WarehouseError: nothing is built yet, or not all of it.
    """
    with open_built(settings, QUERIES.values()) as connection:
        frames = {name: to_pandas(connection.sql(sql)) for name, sql in QUERIES.items()}
    progress("the history is read", 1, 3)
    past = read_past(frames, days)
    progress("a model has learned from the days before", 2, 3)
    replayed = replayed_days(past.learned, past.panel, past.surroundings, past.terms, past.first)
    return Proof(past, replayed, backtest(replayed))


def read_past(frames: Mapping[str, pd.DataFrame], days: int) -> Past:
    """Lay out the history, and learn from all but its last days.

    Args:
        frames: what `QUERIES` return, by their names.

    Raises:
        TooLittleHistoryError: there is less than that takes.
    """
    if frames["days"].empty:
        raise TooLittleHistoryError(
            "There is no day with stock that has closed yet, so there is nothing to replay. Load "
            "what was delivered and sold (`larder run`), and come back when there is a history."
        )
    terms = frames["terms"].dropna(subset=["price_usd", "unit_cost_usd"])
    priced = pd.MultiIndex.from_frame(terms[["location_id", "item_id"]])
    pairs = frames["pairs"]
    pairs = pairs[pd.MultiIndex.from_frame(pairs[["location_id", "item_id"]]).isin(priced)]
    stock_days = frames["days"]
    stock_days = stock_days[stock_days["pair_number"].isin(pairs["pair_number"])]
    if stock_days.empty:
        raise TooLittleHistoryError(
            "No item with stock, at a place that is known, has both a price and a cost, so nothing "
            "can be said in money. Load the items with price_usd and unit_cost_usd, and the "
            "places; dim_items and dim_locations show what has arrived."
        )
    panel = read_panel(stock_days, pairs)
    first = panel.width - days
    if first <= LEAST_DAYS or not enough_history(panel.until(first - 1)):
        raise TooLittleHistoryError(
            f"A backtest of {days} days needs {LEAST_DAYS} days before them to learn "
            f"from, and 2,000 days of items with stock among these; there are "
            f"{max(first, 0)} days. Choose fewer with --days, or come back later."
        )
    terms = terms.set_index(["location_id", "item_id"]).loc[
        list(zip(panel.location_ids, panel.item_ids, strict=True))
    ]
    known = Known(pairs, frames["calendar"], frames["promotions"], frames["trends"])
    agreed = read_terms(panel, terms.reset_index(), frames["weekdays"], first)
    codes, horizon = name_codes(known), horizon_count(agreed.shelf_life_days)
    reach = int((agreed.lead_days + agreed.shelf_life_days).max())
    around = read_surroundings(panel, known, max(horizon, reach), codes)

    def names(column: str, of: Ints) -> tuple[str, ...]:
        return tuple(pd.Series(terms[column].to_numpy(), index=of).groupby(level=0).first())

    return Past(
        panel=panel,
        surroundings=around,
        learned=learn(panel.until(first - 1), around, agreed.shelf_life_days, horizon, codes),
        terms=agreed,
        first=first,
        places=names("location_name", panel.location_codes),
        items=names("item_name", panel.item_codes),
    )


def read_terms(panel: Panel, terms: pd.DataFrame, weekdays: pd.DataFrame, first: int) -> Terms:
    """Lay out what orders must keep to; `terms` has a row for each pair of the panel, in order."""
    after = np.arange(first, panel.width + FOLLOWING_DAYS)
    dates = panel.as_of[:, None] + (after - (panel.width - 1)).astype("timedelta64[D]")
    name_of = pd.Series(texts(weekdays, "weekday"), index=days(weekdays, "calendar_date"))
    names = name_of.reindex(dates.reshape(-1)).to_numpy().reshape(dates.shape)
    comes = [
        [f'"{name}"' in said for name in row]
        for said, row in zip(texts(terms, "restock_weekdays"), names, strict=True)
    ]

    def whole(column: str) -> Ints:
        return np.maximum(np.nan_to_num(numbers(terms, column), nan=1), 1).astype(np.int64)

    return Terms(
        costs=unit_costs(
            *(numbers(terms, name) for name in ("price_usd", "unit_cost_usd", "disposal_cost_usd"))
        ),
        shelf_life_days=whole("shelf_life_days"),
        pack_size=whole("pack_size"),
        lead_days=whole("lead_days"),
        delivers=np.array(comes, dtype=np.bool_),
        capacity=numbers(terms, "capacity_units"),
    )
