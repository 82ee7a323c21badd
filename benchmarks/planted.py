"""A built sample network as the learning sees it, with the demand that was planted in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

from larder.learning.features import Surroundings
from larder.learning.frames import Floats, Ints, days, numbers, texts, to_pandas
from larder.learning.lots import unmet_demand
from larder.learning.orders import Costs, plan_orders, unit_costs
from larder.learning.panel import Panel, read_panel, shelf_lives
from larder.learning.surroundings import Codes, Known, name_codes, read_surroundings
from larder.settings import Settings

# Beyond the scores' own 180 days: a benchmark looks at all there are.
HISTORY_DAYS = 10_000
# Holidays and promotions of the days after the last horizon matter for its last day, too.
DAYS_AFTER = 8
PATHS = 200

QUERIES = {
    "pairs": """
        select
            dense_rank() over (order by location_id, item_id) as pair_number,
            location_id,
            item_id,
            region,
            kind,
            category,
            population,
            price_usd,
            unit_cost_usd,
            disposal_cost_usd,
            pack_size,
            shelf_life_days,
            as_of_date
        from (select distinct location_id, item_id from marts.fct_stock_days)
        cross join (select max(as_of_date) as as_of_date from intermediate.int_stock__score_pairs)
        inner join marts.dim_locations using (location_id)
        inner join marts.dim_items using (item_id)
    """,
    "days": """
        select
            pair_number,
            date_diff('day', stock_date, as_of_date) as days_ago,
            cast(restocked_units as double) as restocked_units,
            cast(sold_units as double) as sold_units,
            cast(discarded_units as double) as discarded_units,
            cast(adjusted_units as double) as adjusted_units,
            cast(closing_units as double) as closing_units,
            is_stocked_out,
            cast(stocked_out_minutes as double) as stocked_out_minutes,
            cast(open_minutes as double) as open_minutes
        from marts.fct_stock_days
        inner join pairs using (location_id, item_id)
        where stock_date <= as_of_date
    """,
    "calendar": "select * from marts.dim_region_dates",
    "promotions": "select * from intermediate.int_catalog__promoted_times",
    "trends": """
        select region, item_id, week_start, avg(trend_index) as trend_index
        from intermediate.int_orders__food_trends
        inner join (
            select item_id, unnest(from_json(tags, '["varchar"]')) as item_tag
            from marts.dim_items
        ) using (item_tag)
        group by region, item_id, week_start
    """,
}


@dataclass(frozen=True)
class Network:
    """Hold S pairs over D days, what surrounds them, and what a unit of each costs."""

    frames: dict[str, pd.DataFrame]
    panel: Panel
    surroundings: Surroundings
    codes: Codes
    shelf_life_days: Ints
    pack_size: Ints
    costs: Costs

    @property
    def horizon(self) -> int:
        """Days ahead: the longest shelf life."""
        return int(self.shelf_life_days.max())


@dataclass(frozen=True)
class Truth:
    """Hold what was planted: units wanted a day (S, D) and units stocked beyond them (S,)."""

    intensity: Floats
    stocking_bias: Floats

    def ahead(self, column: int, days_ahead: int) -> Floats:
        """Return the intensity of the next days (S, H); past the end, of a week earlier."""
        wanted = column + np.arange(days_ahead)
        return self.intensity[:, np.where(wanted < self.intensity.shape[1], wanted, wanted - 7)]


def query_frames(settings: Settings) -> dict[str, pd.DataFrame]:
    """Read what the learning needs from a build, all of its days."""
    frames = {}
    with duckdb.connect(str(settings.build_database), read_only=True) as connection:
        for name, query in QUERIES.items():
            frames[name] = to_pandas(connection.sql(query))
            if name == "pairs":
                connection.register("pairs", frames[name])
    return frames


def write_frames(frames: dict[str, pd.DataFrame], folder: Path) -> None:
    """Write the frames as files, for another process to read."""
    folder.mkdir(parents=True)
    for name, frame in frames.items():
        frame.to_parquet(folder / f"{name}.parquet")


def read_frames(folder: Path) -> dict[str, pd.DataFrame]:
    """Read what `write_frames` wrote."""
    return {name: pd.read_parquet(folder / f"{name}.parquet") for name in QUERIES}


def lay_out(frames: dict[str, pd.DataFrame]) -> Network:
    """Lay the frames out as the library does it."""
    panel = read_panel(frames["days"], frames["pairs"], HISTORY_DAYS)
    known = Known(*(frames[name] for name in ("pairs", "calendar", "promotions", "trends")))
    codes = name_codes(known)
    # `read_panel` sorts its pairs in the same way
    pairs = frames["pairs"].sort_values(["location_id", "item_id"])
    return Network(
        frames=frames,
        panel=panel,
        surroundings=read_surroundings(panel, known, DAYS_AFTER, codes),
        codes=codes,
        shelf_life_days=shelf_lives(panel, pairs),
        pack_size=numbers(pairs, "pack_size").astype(np.int64),
        costs=unit_costs(
            *(numbers(pairs, name) for name in ("price_usd", "unit_cost_usd", "disposal_cost_usd"))
        ),
    )


def read_truth(folder: Path, panel: Panel) -> Truth:
    """Read the planted demand of a panel's pairs and days.

    Raises:
        ValueError: a day of a pair has none.
    """
    rows = pd.read_parquet(folder / "intensity.parquet")
    row = panel.positions(texts(rows, "location_id"), texts(rows, "item_id"))
    ago = (panel.as_of[np.maximum(row, 0)] - days(rows, "date")).astype(np.int64)
    kept = (row >= 0) & (ago >= 0) & (ago < panel.width)
    intensity = np.full((panel.size, panel.width), np.nan)
    intensity[row[kept], panel.width - 1 - ago[kept]] = numbers(rows, "wanted_units")[kept]
    if not np.isfinite(intensity).all():
        raise ValueError(f"{folder} is not the planted truth of this warehouse")
    places = pd.read_parquet(folder / "locations.parquet").set_index("location_id")
    bias = places["stocking_bias"].reindex(panel.location_ids)
    return Truth(intensity, bias.to_numpy(dtype=np.float64))


def planned_units(network: Network, paths: Ints, lots: Floats) -> Floats:
    """Plan the orders (S,) of a day from simulated demand of the days from it on.

    Args:
        paths: (S, H, P) units. lots: (S, H) units held that are good for 1, 2, … H more days.
    """
    unmet = unmet_demand(paths, np.cumsum(lots, axis=1), lots.sum(axis=1))
    alive = np.arange(unmet.shape[1])[None, :, None] < network.shelf_life_days[:, None, None]
    in_life = np.where(alive, unmet, 0.0).sum(axis=1)
    # every place of the sample is delivered to every day
    plan = plan_orders(unmet[:, 0], in_life, network.costs, network.pack_size)
    return plan.units.astype(np.float64)
