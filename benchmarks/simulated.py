"""The sample network in memory: the frames a build would give, and every unit that was wanted.

Nothing is written, loaded or built, so that many seeds can be measured. Stock days follow
`fct_stock_days`: stock as events and counts tell it, empty while there is none of it in opening
hours. The sample's few blemished records are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from benchmarks.planted import Network, Truth, lay_out
from larder.learning.frames import Floats
from loaders.sample.arrays import MILLISECONDS_A_DAY
from loaders.sample.catalogue import World, make_world
from loaders.sample.landing_files import LandingFiles
from loaders.sample.options import SampleOptions
from loaders.sample.people import make_people
from loaders.sample.records import COUNTED, DISCARDED, MINUTE, PUT_BACK, RESTOCKED, TAKEN, Events
from loaders.sample.simulation import CLOSING, OPENING, Simulation
from loaders.sample.surroundings import instant, write_surroundings

PRICES = ["price_usd", "unit_cost_usd", "disposal_cost_usd"]
SIGNS = {RESTOCKED: 1, TAKEN: -1, PUT_BACK: 1, DISCARDED: -1, COUNTED: 0}


@dataclass(frozen=True)
class Simulated:
    """Hold a network, what was planted in it, and the units wanted on each day (S, D)."""

    network: Network
    truth: Truth
    wanted: Floats


@dataclass
class _Tables(LandingFiles):
    """Keep what would land, by entity."""

    tables: dict[str, list[pa.Table]] = field(default_factory=dict)

    def write(self, relative: str, table: pa.Table) -> None:
        """Keep a table under the entity that its path names."""
        self.tables.setdefault(relative.split("/")[1], []).append(table)

    def frame(self, entity: str, key: str | None = None) -> pd.DataFrame:
        """Return the rows of an entity; with a key, the newest version of each."""
        rows: pd.DataFrame = pa.concat_tables(self.tables[entity]).to_pandas(date_as_object=False)
        return rows if key is None else rows.drop_duplicates(key, keep="last")


def simulate(options: SampleOptions) -> Simulated:
    """Run the sample network, and lay out what a build of it would know.

    Raises:
        SampleError: an option is out of range.
    """
    world = make_world(options)
    simulation = Simulation(world, make_people(world))
    results = [simulation.run_day(day) for day in range(options.days)]
    days = stock_days(world, [one.events for one in results])
    network = lay_out(_frames(world, days))
    wanted = np.stack([one.wanted for one in results], axis=-1).astype(np.float64)
    intensity = np.stack([world.intensity(day) for day in range(options.days)], axis=-1)
    place = {one.location_id: number for number, one in enumerate(world.locations)}
    item = {one.item_id: number for number, one in enumerate(world.items)}
    at = [place[name] for name in network.panel.location_ids]
    of = [item[name] for name in network.panel.item_ids]
    # the panel begins on the first day on which anything was delivered
    width = network.panel.width
    return Simulated(
        network,
        Truth(intensity[at, of, -width:], world.stocking_bias[at]),
        wanted[at, of, -width:],
    )


def stock_days(world: World, events: list[Events]) -> pd.DataFrame:
    """Make the stock days of all pairs, numbered location by location, from the events of D days.

    Returns:
        The columns that `larder.learning.panel.read_panel` reads.
    """
    shape = (len(world.locations) * len(world.items), len(events))
    rows = pd.concat(
        [
            pd.DataFrame(
                {
                    "pair": one.location * len(world.items) + one.item,
                    "moment": one.local_ms + day * MILLISECONDS_A_DAY,
                    "kind": one.kind,
                    "quantity": one.quantity,
                }
            )
            for day, one in enumerate(events)
        ]
    ).sort_values(["pair", "moment"], kind="stable", ignore_index=True)
    rows["day"] = rows["moment"] // MILLISECONDS_A_DAY
    is_count = rows["kind"] == COUNTED
    # between two counts stock is what was counted and what has moved since
    counts = [rows["pair"], is_count.groupby(rows["pair"]).cumsum()]
    counted = rows["quantity"].where(is_count).groupby(counts).transform("max").fillna(0)
    rows["change"] = rows["quantity"] * rows["kind"].map(SIGNS)
    rows["level"] = counted + rows["change"].groupby(counts).cumsum()

    def moved(*kinds: int) -> Floats:
        cells = np.zeros(shape)
        some = rows[rows["kind"].isin(kinds)]
        np.add.at(cells, (some["pair"], some["day"]), some["change"])
        return cells

    restocked, sold, discarded = moved(RESTOCKED), -moved(TAKEN, PUT_BACK), -moved(DISCARDED)
    last = rows.groupby(["pair", "day"])["level"].last()
    pair, day = (last.index.get_level_values(name).to_numpy() for name in ("pair", "day"))
    closing = np.full(shape, np.nan)
    closing[pair, day] = last
    closing = pd.DataFrame(closing).ffill(axis=1).fillna(0.0).to_numpy()
    opening = np.concatenate([np.zeros((shape[0], 1)), closing[:, :-1]], axis=1)
    seen = np.zeros(shape, dtype=np.bool_)
    seen[pair, day] = True
    told = np.maximum.accumulate(seen, axis=1)
    empty = _empty_milliseconds(rows, opening, told)
    row, column = np.nonzero(told)
    return pd.DataFrame(
        {
            "pair_number": row,
            "days_ago": shape[1] - 1 - column,
            "restocked_units": restocked[told],
            "sold_units": sold[told],
            "discarded_units": discarded[told],
            "adjusted_units": (closing - opening - restocked + sold + discarded)[told],
            "closing_units": closing[told],
            "is_stocked_out": empty[told] > 0,
            "stocked_out_minutes": empty[told] / MINUTE,
            "open_minutes": float((CLOSING - OPENING) // MINUTE),
        }
    )


def _empty_milliseconds(rows: pd.DataFrame, opening: Floats, told: np.ndarray) -> Floats:
    """Add up opening hours without stock (P, D): after each event that left none, and before any.

    Args:
        rows: events by pair and time. opening: (P, D) units. told: (P, D) from the first event on.
    """
    begins = rows["day"] * MILLISECONDS_A_DAY
    since = (rows["moment"] - begins).clip(lower=OPENING)
    ahead = rows.groupby(["pair", "day"])["moment"].shift(-1) - begins
    spell = (ahead.fillna(CLOSING).clip(upper=CLOSING) - since).clip(lower=0)
    out = rows["level"] <= 0
    empty = np.zeros(opening.shape)
    np.add.at(empty, (rows["pair"][out], rows["day"][out]), spell[out])
    first = np.full(opening.shape, float(CLOSING))
    found = (rows["moment"] - begins).groupby([rows["pair"], rows["day"]]).first()
    first[tuple(found.index.get_level_values(name) for name in ("pair", "day"))] = found
    known = np.concatenate([np.zeros((len(told), 1), dtype=np.bool_), told[:, :-1]], axis=1)
    before = np.clip(first, OPENING, CLOSING) - OPENING
    return np.asarray(empty + np.where(known & (opening <= 0), before, 0.0))


def _frames(world: World, days: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Make the frames of `planted.QUERIES`."""
    with _Tables(Path()) as landed:
        write_surroundings(world, landed, instant(world.date_of(world.options.days)))
    places = landed.frame("locations").set_index("location_id")
    items = landed.frame("items", "item_id").set_index("item_id")
    items[PRICES] = items[PRICES].astype(float)
    pairs = pd.MultiIndex.from_product(
        [
            [one.location_id for one in world.locations],
            [one.item_id for one in world.items],
        ],
        names=["location_id", "item_id"],
    ).to_frame(index=False)
    pairs = pairs.join(places[["region", "kind", "population"]], on="location_id").join(
        items[[*PRICES, "category", "pack_size", "shelf_life_days"]], on="item_id"
    )
    pairs = pairs.assign(
        pair_number=np.arange(len(pairs)),
        as_of_date=pd.Timestamp(world.date_of(world.options.days - 1)),
    )
    promotions = landed.frame("promotions").explode("item_ids")
    tags = items["tags"].explode().rename("item_tag").reset_index()
    trends = landed.frame("food_trends").merge(tags, on="item_tag")
    of_item = trends.groupby(["region", "item_id", "week_start"])["trend_index"].mean()
    return {
        "pairs": pairs[pairs["pair_number"].isin(days["pair_number"])],
        "days": days,
        "calendar": landed.frame("calendar").rename(columns={"date": "calendar_date"}),
        "promotions": promotions.rename(columns={"item_ids": "item_id"}),
        "trends": of_item.reset_index(),
    }
