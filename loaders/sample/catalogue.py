"""The fixed world of the sample network: items, locations, demand, shares, tastes of personas.

Real demand decides how much is wanted where and when; everything else here is invented and
follows from the options alone.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from importlib.resources import files
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from loaders.sample.arrays import Flags, Floats, Integers
from loaders.sample.bakery import HISTORY_DAYS, PRODUCTS, Demand, read_demand
from loaders.sample.options import SampleOptions

DAILY_UNITS: Final = 66.0
"""Wanted units of a mean location and day at scale 1: what a well used smart fridge turns over."""
MAXIMUM_SHELF_LIFE: Final = 5

KINDS_WITHOUT_STOCK_EVENTS: Final = ("kiosk", "restaurant", "store")

# What a persona likes (utility per tag); about how many people are like that.
PERSONAS: Final[dict[str, tuple[float, dict[str, float]]]] = {
    "plant eater": (0.22, {"vegan": 1.1, "vegetarian": 0.5, "high_protein": -0.4, "seafood": -1.2}),
    "athlete": (0.20, {"high_protein": 1.0, "low_carb": 0.7, "sweet": -0.9, "comfort": -0.5}),
    "comfort seeker": (0.26, {"comfort": 1.0, "classic": 0.6, "sweet": 0.4, "vegan": -0.7}),
    "adventurer": (0.18, {"asian": 1.0, "spicy": 0.9, "seafood": 0.5, "classic": -0.5}),
    "early riser": (0.14, {"breakfast": 1.4, "sweet": 0.6, "mediterranean": 0.2, "spicy": -0.5}),
}


@dataclass(frozen=True)
class Item:
    """Describe one meal; money in US dollars."""

    item_id: str
    item_name: str
    product: int
    category: str
    tags: tuple[str, ...]
    allergens: tuple[str, ...]
    price_usd: float
    unit_cost_usd: float
    disposal_cost_usd: float
    shelf_life_days: int


@dataclass(frozen=True)
class Region:
    """Describe one region; `stores` are stores of the real demand."""

    region: str
    time_zone: str
    latitude: float
    longitude: float
    postcode_prefix: str
    area_code: str
    stores: tuple[int, ...]


@dataclass(frozen=True)
class Location:
    """Describe one selling location; `store` is the store of the real demand behind it."""

    location_id: str
    location_name: str
    kind: str
    region: int
    store: int
    latitude: float
    longitude: float
    population: int
    route_id: str
    opened_on: date


@dataclass(frozen=True)
class World:
    """Hold all that does not change from day to day (L locations, I items, K personas, T tags)."""

    options: SampleOptions
    demand: Demand
    items: tuple[Item, ...]
    regions: tuple[Region, ...]
    locations: tuple[Location, ...]
    tags: tuple[str, ...]
    first_date: date
    item_product: Integers  # [I] position in PRODUCTS
    item_category: Integers  # [I]
    item_tags: Floats  # [I, T]
    shelf_lives: Integers  # [I]
    factors: Floats  # [L, I]: intensity = real demand x factor
    store_rows: Integers  # [L]
    region_rows: Integers  # [L]
    has_stock_events: Flags  # [L]
    stocking_bias: Floats  # [L], U(0, 3)
    persona_utility: Floats  # [K, I]
    persona_of_item: Floats  # [I, K] cumulative P(persona | item)
    price_cents: Integers  # [2, I]: before and after the price change
    price_change_day: int

    def intensity(self, day: int) -> Floats:
        """Return the wanted units [L, I] of a day; day 0 is the first of the sample."""
        column = HISTORY_DAYS - self.options.days + day
        wanted: Floats = self.demand.units[:, :, column][self.store_rows][:, self.item_product]
        return wanted * self.factors

    def date_of(self, day: int) -> date:
        """Return the date of a day of the sample."""
        return self.first_date + timedelta(days=day)

    def utc_offsets(self, day: int) -> Integers:
        """Return local time minus UTC [L] in milliseconds; the same from 03:00 to midnight."""
        on = self.date_of(day)
        by_region = np.array(
            [
                round(
                    (
                        datetime(
                            on.year, on.month, on.day, 12, tzinfo=ZoneInfo(region.time_zone)
                        ).utcoffset()
                        or timedelta()
                    ).total_seconds()
                    * 1000
                )
                for region in self.regions
            ],
            dtype=np.int64,
        )
        return by_region[self.region_rows]

    def prices(self, day: int) -> Integers:
        """Return the list price [I] of a day in cents."""
        cents: Integers = self.price_cents[1 if day >= self.price_change_day else 0]
        return cents

    def promoted(self, day: int) -> Flags:
        """Return which items [I] the chain promotes on a day."""
        column = HISTORY_DAYS - self.options.days + day
        flags: Flags = self.demand.is_promoted[self.item_product, column]
        return flags


def _rows(name: str) -> list[dict[str, str]]:
    text = files("loaders.sample").joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def read_names() -> dict[str, tuple[str, ...]]:
    """Return the invented names by kind: first, last, place."""
    names: dict[str, list[str]] = {}
    for row in _rows("names.csv"):
        names.setdefault(row["kind"], []).append(row["value"])
    return {kind: tuple(values) for kind, values in names.items()}


def _items(options: SampleOptions) -> tuple[Item, ...]:
    rows = _rows("items.csv")
    items: list[Item] = []
    for product in PRODUCTS:
        meals = [row for row in rows if int(row["product"]) == product]
        for position in range(options.items_per_product):
            row = meals[position % len(meals)]
            edition = position // len(meals)
            items.append(
                Item(
                    item_id=f"item-{len(items) + 1:03d}",
                    item_name=row["item_name"] + (f" No. {edition + 1}" if edition else ""),
                    product=product,
                    category=row["category"],
                    tags=tuple(tag for tag in row["tags"].split("|") if tag),
                    allergens=tuple(name for name in row["allergens"].split("|") if name),
                    price_usd=float(row["price_usd"]),
                    unit_cost_usd=float(row["unit_cost_usd"]),
                    disposal_cost_usd=float(row["disposal_cost_usd"]),
                    shelf_life_days=int(row["shelf_life_days"]),
                )
            )
    return tuple(items)


def _regions() -> tuple[Region, ...]:
    return tuple(
        Region(
            region=row["region"],
            time_zone=row["time_zone"],
            latitude=float(row["latitude"]),
            longitude=float(row["longitude"]),
            postcode_prefix=row["postcode_prefix"],
            area_code=row["area_code"],
            stores=tuple(int(store) for store in row["stores"].split("|")),
        )
        for row in _rows("regions.csv")
    )


def _store_order(regions: tuple[Region, ...]) -> list[tuple[int, int]]:
    """Return (region, store) in turns, so that a small network still spans the time zones."""
    longest = max(len(region.stores) for region in regions)
    return [
        (number, region.stores[turn])
        for turn in range(longest)
        for number, region in enumerate(regions)
        if turn < len(region.stores)
    ]


def _locations(
    options: SampleOptions, regions: tuple[Region, ...], first_date: date
) -> tuple[Location, ...]:
    rng = np.random.default_rng([options.seed, 1])
    places = read_names()["place"]
    order = _store_order(regions)
    in_region = [0] * len(regions)
    locations: list[Location] = []
    for number in range(options.locations):
        region, store = order[number % len(order)]
        # Every fifth location sends orders instead of stock events.
        without = number % 5 == 4
        kind = KINDS_WITHOUT_STOCK_EVENTS[number // 5 % 3] if without else "fridge"
        north, east = rng.normal(0.0, 0.05, 2)
        place = places[in_region[region] % len(places)]
        round_number = in_region[region] // len(places)
        in_region[region] += 1
        locations.append(
            Location(
                location_id=f"loc-{number + 1:03d}",
                location_name=f"{regions[region].region} {place}"
                + (f" {round_number + 1}" if round_number else ""),
                kind=kind,
                region=region,
                store=store,
                latitude=round(regions[region].latitude + float(north), 5),
                longitude=round(regions[region].longitude + float(east), 5),
                population=int(rng.integers(40, 900)) * 100,
                route_id=f"route-{region + 1}-{in_region[region] % 2 + 1}",
                opened_on=first_date - timedelta(days=int(rng.integers(30, 900))),
            )
        )
    return tuple(locations)


def make_world(options: SampleOptions) -> World:
    """Build the fixed world of the sample network.

    Raises:
        SampleError: an option is out of range.
    """
    options.check()
    demand = read_demand()
    items, regions = _items(options), _regions()
    first_date = demand.first_date + timedelta(days=HISTORY_DAYS - options.days)
    locations = _locations(options, regions, first_date)
    store_rows = np.array([demand.stores.index(location.store) for location in locations])
    item_product = np.array([PRODUCTS.index(item.product) for item in items])

    # Fixed shares within a product: Zipf-like, with a mild taste of each location.
    rng = np.random.default_rng([options.seed, 2])
    ranks = np.arange(options.items_per_product)
    zipf = np.tile(1.0 / (1.0 + ranks) ** 0.7, len(PRODUCTS))
    shares = zipf * np.exp(rng.normal(0.0, 0.25, (len(locations), len(items))))
    for product in range(len(PRODUCTS)):
        of_product = item_product == product
        shares[:, of_product] /= shares[:, of_product].sum(axis=1, keepdims=True)

    # Thinned to fridge scale: of a store and product with mean m we keep about the square root,
    # so that large ones stay larger, yet all fit into a fridge.
    mean = demand.units[:, :, -364:].mean(axis=2)
    root = np.sqrt(np.maximum(mean, 1e-9))
    thinning = DAILY_UNITS * root / root.sum(axis=1).mean() / np.maximum(mean, 1e-9)
    location_size = np.exp(rng.normal(0.0, 0.15, len(locations)))
    factors = (
        shares * thinning[store_rows][:, item_product] * location_size[:, None] * options.scale
    )

    tags = tuple(sorted({tag for item in items for tag in item.tags}))
    item_tags = np.array([[float(tag in item.tags) for tag in tags] for item in items])
    weights = np.array([[likes.get(tag, 0.0) for tag in tags] for _, likes in PERSONAS.values()])
    utility = weights @ item_tags.T
    sizes = np.array([size for size, _ in PERSONAS.values()])
    persona_of_item = (sizes[:, None] * np.exp(utility)).T
    persona_of_item = np.cumsum(
        persona_of_item / persona_of_item.sum(axis=1, keepdims=True), axis=1
    )

    prices = np.array([round(item.price_usd * 100) for item in items])
    dearer = np.arange(len(items)) % 12 == 5
    categories = sorted({item.category for item in items})
    return World(
        options=options,
        demand=demand,
        items=items,
        regions=regions,
        locations=locations,
        tags=tags,
        first_date=first_date,
        item_product=item_product,
        item_category=np.array([categories.index(item.category) for item in items]),
        item_tags=item_tags,
        shelf_lives=np.array([item.shelf_life_days for item in items]),
        factors=factors,
        store_rows=store_rows,
        region_rows=np.array([location.region for location in locations]),
        has_stock_events=np.array([location.kind == "fridge" for location in locations]),
        stocking_bias=rng.uniform(0.0, 3.0, len(locations)),
        persona_utility=utility,
        persona_of_item=persona_of_item,
        price_cents=np.stack([prices, prices + 40 * dearer]),
        price_change_day=options.days * 3 // 5,
    )
