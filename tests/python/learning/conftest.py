"""A small network that is simulated unit by unit, so that stock-outs and waste have causes."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from larder.learning.backtest import FOLLOWING_DAYS, Terms
from larder.learning.features import Surroundings
from larder.learning.frames import Floats, Ints
from larder.learning.orders import Costs
from larder.learning.panel import Panel, read_panel, shelf_lives
from larder.learning.registry import Champion
from larder.learning.surroundings import Known, name_codes, read_surroundings
from larder.learning.training import Learned, learn
from larder.learning.waste import horizon_count

FIRST_DAY = np.datetime64("2025-01-01", "D")
OPEN_MINUTES = 960


@dataclass(frozen=True)
class Network:
    """Hold the frames that dbt hands to the Python models, and the demand that nobody sees."""

    days: pd.DataFrame
    pairs: pd.DataFrame
    held: pd.DataFrame
    candidates: pd.DataFrame
    items: pd.DataFrame
    now: pd.DataFrame
    calendar: pd.DataFrame
    promotions: pd.DataFrame
    trends: pd.DataFrame
    demand: Ints

    def shuffled(self, seed: int) -> Network:
        """Return the same rows in another order."""
        return replace(
            self,
            **{
                name: getattr(self, name).sample(frac=1, random_state=seed)
                for name in ("days", "pairs", "held", "candidates", "items")
            },
        )


def make_network(seed: int = 1, locations: int = 5, items: int = 4, days: int = 90) -> Network:
    """Simulate first in, first out, with shelf lives of 2 to 5 days and a biased order each day."""
    rng = np.random.default_rng(seed)
    size = locations * items
    location, item = np.divmod(np.arange(size), items)
    location_ids = np.array([f"location_{n:05d}" for n in range(locations)], dtype=object)[location]
    item_ids = np.array([f"item_{n:03d}" for n in range(items)], dtype=object)[item]
    life = (2 + np.arange(items) % 4)[item]
    level = rng.gamma(3, 1, locations)[location] * rng.gamma(4, 0.3, items)[item]
    bias = rng.uniform(0, 3, locations)[location]
    weekday = np.array([0.8, 0.8, 0.9, 1.0, 1.4, 1.3, 0.8])
    demand = rng.poisson(level[:, None] * weekday[(np.arange(days) + 2) % 7])
    batches = np.zeros((size, 6), dtype=np.int64)  # by days left after today, 0 = expires tonight
    columns: dict[str, list[Any]] = {}
    for day in range(days):
        opening = batches.sum(axis=1)
        restocked = np.maximum(np.ceil(level * np.minimum(life, 2) + bias).astype(int) - opening, 0)
        batches[np.arange(size), life - 1] += restocked
        left = demand[:, day].copy()
        for age in range(6):
            gone = np.minimum(batches[:, age], left)
            batches[:, age] -= gone
            left -= gone
        discarded = batches[:, 0].copy()
        out = batches.sum(axis=1) == 0
        batches = np.concatenate([batches[:, 1:], np.zeros((size, 1), dtype=np.int64)], axis=1)
        row = {
            "restocked_units": restocked,
            "sold_units": demand[:, day] - left,
            "discarded_units": discarded,
            "adjusted_units": np.zeros(size, dtype=np.int64),
            "closing_units": batches.sum(axis=1),
            "is_stocked_out": out,
            "stocked_out_minutes": np.where(out, rng.integers(30, 400, size), 0),
            "pair_number": np.arange(size),
            "days_ago": np.full(size, days - 1 - day),
        }
        for name, values in row.items():
            columns.setdefault(name, []).append(values)
    as_of = FIRST_DAY + days - 1
    frame = pd.DataFrame({name: np.concatenate(parts) for name, parts in columns.items()})
    frame["open_minutes"] = OPEN_MINUTES
    pairs = pd.DataFrame(
        {
            "pair_number": np.arange(size),
            "location_id": location_ids,
            "item_id": item_ids,
            "region": np.where(location % 2, "East", "West"),
            "kind": "fridge",
            "population": 1000.0 * (1 + location),
            "category": np.where(item % 2, "bowls", "wraps"),
            "price_usd": 4.0 + item % 7,
            "history_days": days,
            "is_on_offer": True,
            "as_of_date": pd.Timestamp(as_of),
        }
    )
    pair, ahead = np.nonzero(batches)
    held = pd.DataFrame(
        {
            "location_id": location_ids[pair],
            "item_id": item_ids[pair],
            "as_of_date": pd.Timestamp(as_of),
            "expires_on": (as_of + 1 + ahead).astype("datetime64[s]"),
            "units": batches[pair, ahead],
        }
    )
    catalogue = pd.DataFrame(
        {
            "item_id": [f"item_{n:03d}" for n in range(items)],
            "shelf_life_days": 2 + np.arange(items) % 4,
            "price_usd": 4.0 + np.arange(items) % 7,
            "unit_cost_usd": 1.5 + 0.2 * (np.arange(items) % 7),
            "disposal_cost_usd": 0.1,
            "pack_size": 1 + np.arange(items) % 3,
        }
    )
    candidates = pd.DataFrame(
        {
            "location_id": location_ids,
            "item_id": item_ids,
            "as_of_date": pd.Timestamp(as_of),
            "order_date": pd.Timestamp(as_of + 1),
            "days_covered": 1 + location % 3,
            "stock_units": batches.sum(axis=1),
            "is_holiday": location == 0,
            "capacity_units": 500,
        }
    ).merge(catalogue, on="item_id")
    dates = pd.date_range(FIRST_DAY, as_of + 30)
    calendar = pd.DataFrame(
        {
            "region": np.repeat(["East", "West"], len(dates)),
            "calendar_date": np.tile(dates, 2),
            "is_holiday": np.tile(dates.day == 25, 2),
            "is_school_holiday": np.tile(dates.day > 27, 2),
            "rain_millimetres": np.tile(dates.day % 5 * 1.5, 2),
            "temperature_celsius": 12.0,
        }
    )
    promotions = pd.DataFrame(
        {
            "item_id": ["item_000", "item_001", "item_000"],
            "location_id": [None, "location_00001", None],
            # the last one runs on after the as-of day
            "starts_at": [pd.Timestamp(day) for day in (FIRST_DAY + 20, FIRST_DAY + 20, as_of - 3)],
            "ends_at": [pd.Timestamp(day) for day in (FIRST_DAY + 27, FIRST_DAY + 27, as_of + 5)],
        }
    )
    trends = pd.DataFrame(
        {
            "region": "East",
            "item_id": "item_002",
            "week_start": pd.date_range(FIRST_DAY, as_of, freq="7D"),
            "trend_index": 100.0,
        }
    )
    now = pd.DataFrame({"as_of_at": [pd.Timestamp(as_of) + pd.Timedelta(hours=22)]})
    return Network(
        frame, pairs, held, candidates, catalogue, now, calendar, promotions, trends, demand
    )


@pytest.fixture(scope="session")
def network() -> Network:
    """Return the default small network."""
    return make_network()


@pytest.fixture(scope="session")
def grown() -> Network:
    """Return a small network with a history that is long enough to learn from."""
    return make_network(locations=8, days=140)


def around(network: Network) -> Known:
    """Return what is known around the pairs of a network."""
    return Known(network.pairs, network.calendar, network.promotions, network.trends)


@pytest.fixture(scope="session")
def champion(grown: Network) -> Champion:
    """Return a model that was trained on the grown network."""
    panel = read_panel(grown.days, grown.pairs)
    life = shelf_lives(panel, grown.items)
    known = around(grown)
    codes = name_codes(known)
    horizon = horizon_count(life)
    surroundings = read_surroundings(panel, known, horizon, codes)
    return Champion("boosted-test", learn(panel, surroundings, life, horizon, codes))


@pytest.fixture(scope="session")
def simulate() -> Callable[..., Network]:
    """Return the simulation itself, for a network of another size."""
    return make_network


PAST_DAYS, REPLAYED_FROM = 120, 100


@dataclass(frozen=True)
class Past:
    """Hold a simulated past, a model of its first 100 days, and the demand that nobody saw."""

    panel: Panel
    surroundings: Surroundings
    learned: Learned
    terms: Terms
    demand: Floats


@pytest.fixture(scope="session")
def past() -> Past:
    """Return a past to replay: each day a delivery may come, ordered the day before."""
    network = make_network(seed=9, locations=6, items=5, days=PAST_DAYS)
    panel = read_panel(network.days, network.pairs)
    life = shelf_lives(panel, network.items)
    surroundings = Surroundings(
        holidays=np.zeros((panel.size, PAST_DAYS + FOLLOWING_DAYS)),
        places={
            "location": panel.location_codes.astype(np.float64),
            "item": panel.item_codes.astype(np.float64),
        },
    )
    days = PAST_DAYS - REPLAYED_FROM + FOLLOWING_DAYS
    terms = Terms(
        costs=Costs(np.full(panel.size, 3.0), np.full(panel.size, 2.0)),
        shelf_life_days=life,
        pack_size=np.ones(panel.size, dtype=np.int64),
        lead_days=np.ones(panel.size, dtype=np.int64),
        delivers=np.ones((panel.size, days), dtype=np.bool_),
        capacity=np.full(panel.size, np.nan),
    )
    codes = {"location": (), "item": ()}
    learned = learn(panel.until(REPLAYED_FROM - 1), surroundings, life, int(life.max()), codes)
    return Past(panel, surroundings, learned, terms, network.demand.astype(np.float64))


def load_model(name: str) -> ModuleType:
    """Import a dbt Python model from its file, as dbt does: it belongs to no package."""
    path = Path(__file__).parents[3] / "python_models" / "scores" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def scores() -> Callable[[str], ModuleType]:
    """Return the loader of dbt Python models."""
    return load_model
