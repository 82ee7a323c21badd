"""Invent the customers of the sample network: personal data, tastes, family, consents, ratings.

Nobody here exists: names are made up, mail ends at example.com, numbers are 555-01xx.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np
import pyarrow as pa

from loaders.sample.arrays import EPOCH, MILLISECONDS_A_DAY, Flags, Floats, Integers
from loaders.sample.catalogue import PERSONAS, World, read_names

CUSTOMERS_A_LOCATION: Final = 115
COMMUNITIES_A_REGION: Final = 3
_DIETS: Final[dict[str, tuple[str, ...]]] = {
    "plant eater": ("vegan",),
    "athlete": ("high_protein",),
    "comfort seeker": (),
    "adventurer": ("no_nuts",),
    "early riser": ("vegetarian",),
}
_CUSTOMER_SCHEMA: Final = pa.schema(
    [
        ("customer_id", pa.string()),
        ("full_name", pa.string()),
        ("email", pa.string()),
        ("phone", pa.string()),
        ("birth_date", pa.date32()),
        ("sex", pa.string()),
        ("postcode", pa.string()),
        ("region", pa.string()),
        ("community_id", pa.string()),
        ("registered_at", pa.timestamp("ms")),
        ("family_joined_at", pa.timestamp("ms")),
        ("family_left_at", pa.timestamp("ms")),
        ("dietary_preferences", pa.list_(pa.string())),
        ("updated_at", pa.timestamp("ms")),
    ]
)


@dataclass(frozen=True)
class People:
    """Hold the customers (C) and what decides who buys what."""

    customer_ids: tuple[str, ...]
    home: Integers  # [C] location row
    persona: Integers  # [C]
    registered_ms: Integers  # [C] UTC milliseconds
    taste: Floats  # [C, T] individual utility per tag, on top of the persona's
    is_subscriber: Flags  # [C]
    starts: Integers  # [L, K] first candidate of a location and persona
    members: Integers  # candidates, by location and persona
    cumulative: Floats  # [I, C] P(candidate | item) summed within a location and persona

    def utility(self, world: World, customers: Integers) -> Floats:
        """Return the planted utility [len(customers), I]; higher means liked more."""
        own: Floats = self.taste[customers] @ world.item_tags.T
        return world.persona_utility[self.persona[customers]] + own

    def choose(
        self, location: Integers, persona: Integers, item: Integers, draws: Floats
    ) -> Integers:
        """Choose a customer by taste for the first item of each basket; -1: nobody lives there."""
        first = self.starts[location, persona]
        following = self.starts.ravel()
        position = location * self.starts.shape[1] + persona + 1
        end = np.where(
            position < following.size, following[np.minimum(position, following.size - 1)],
            self.members.size,
        )  # fmt: skip
        chosen = np.full(location.size, -1, dtype=np.int64)
        for one in np.unique(item):
            rows = np.flatnonzero((item == one) & (end > first))
            # Every segment of the cumulative row ends at its own number + 1: one search serves all.
            segment = position[rows] - 1
            at = np.searchsorted(self.cumulative[one], segment + draws[rows], side="right")
            at = np.clip(at, first[rows], end[rows] - 1)
            chosen[rows] = self.members[at]
        return chosen


def make_people(world: World) -> People:
    """Invent about 115 customers a location with tastes and home locations."""
    locations = len(world.locations)
    count = CUSTOMERS_A_LOCATION * locations
    rng = np.random.default_rng([world.options.seed, 3])
    home = rng.integers(0, locations, count)
    sizes = np.array([size for size, _ in PERSONAS.values()])
    persona = rng.choice(len(PERSONAS), count, p=sizes / sizes.sum())
    taste = rng.normal(0.0, 0.5, (count, len(world.tags)))
    activity = np.exp(rng.normal(0.0, 1.0, count))
    start_ms = (world.first_date - EPOCH).days * MILLISECONDS_A_DAY
    before = rng.integers(0, 700 * MILLISECONDS_A_DAY, count)
    during = rng.integers(0, world.options.days * MILLISECONDS_A_DAY, count)
    registered = np.where(rng.random(count) < 0.7, start_ms - before, start_ms + during)
    is_subscriber = rng.random(count) < 0.03

    cells = home * len(PERSONAS) + persona
    members = np.argsort(cells, kind="stable")
    starts = np.searchsorted(cells[members], np.arange(locations * len(PERSONAS)))
    cumulative = np.empty((len(world.items), count))
    cell_of_member = cells[members]
    for item in range(len(world.items)):
        weight = (activity * np.exp(taste @ world.item_tags[item]))[members]
        total = np.bincount(cell_of_member, weights=weight, minlength=starts.size)
        share = weight / total[cell_of_member]
        running = np.cumsum(share)
        before_cell = np.concatenate([[0.0], running])[starts]
        within = running - before_cell[cell_of_member]
        cumulative[item] = cell_of_member + np.minimum(within, 1.0)
    return People(
        customer_ids=tuple(f"customer-{number + 1:06d}" for number in range(count)),
        home=home,
        persona=persona,
        registered_ms=registered,
        taste=taste,
        is_subscriber=is_subscriber,
        starts=starts.reshape(locations, len(PERSONAS)),
        members=members,
        cumulative=cumulative,
    )


def customer_versions(world: World, people: People, end_ms: int) -> pa.Table:
    """Return every version of every customer up to an instant, in order of `updated_at`.

    A new version is written when a customer joins or leaves the family programme, moves to
    another region or changes the mail address.
    """
    rng = np.random.default_rng([world.options.seed, 4])
    names = read_names()
    first_names, last_names = names["first"], names["last"]
    preferences = [_DIETS[name] for name in PERSONAS]
    rows: list[dict[str, object]] = []
    for number, customer_id in enumerate(people.customer_ids):
        draws = rng.random(16)
        first = first_names[int(draws[0] * len(first_names))]
        last = last_names[int(draws[1] * len(last_names))]
        registered = int(people.registered_ms[number])
        row = {
            "customer_id": customer_id,
            "full_name": f"{first} {last}",
            "email": f"{first}.{last}.{number + 1}@example.com".lower(),
            "birth_date": date(2001, 1, 1) - timedelta(days=int(draws[2] ** 1.4 * 22_000)),
            "sex": "female" if draws[3] < 0.52 else "male" if draws[3] < 0.98 else "other",
            "registered_at": registered,
            "family_joined_at": None,
            "family_left_at": None,
            "dietary_preferences": list(preferences[people.persona[number]])
            if draws[4] < 0.6
            else [],
            "updated_at": registered,
        }
        row |= _residence(world, world.locations[people.home[number]].region, draws[5:9])
        rows.append(row)
        # What happens to a customer later, each in its own version, in order of time.
        moments = registered + np.sort((draws[9:12] * max(end_ms - registered, 0)).astype(np.int64))
        changes: list[dict[str, object]] = []
        if draws[12] < 0.35:
            changes.append({"family_joined_at": int(moments[0])})
            if draws[13] < 0.2:
                changes.append({"family_left_at": int(moments[1])})
        if draws[14] < 0.03:
            changes.append(
                _residence(world, int(draws[14] / 0.03 * len(world.regions)), draws[5:9])
            )
        elif draws[14] < 0.06:
            changes.append({"email": f"{last}.{number + 1}@example.com".lower()})
        for moment, change in zip(moments, changes, strict=False):
            row = row | change | {"updated_at": int(moment)}
            rows.append(row)
    rows = [row for row in rows if int(str(row["updated_at"])) <= end_ms]
    rows.sort(key=lambda row: (int(str(row["updated_at"])), str(row["customer_id"])))
    return pa.Table.from_pylist(rows, schema=_CUSTOMER_SCHEMA)


def _residence(world: World, region: int, draws: Floats) -> dict[str, object]:
    where = world.regions[region]
    community = int(draws[3] * COMMUNITIES_A_REGION) + 1
    return {
        "phone": f"+1-{where.area_code}-555-01{int(draws[0] * 100):02d}",
        "postcode": f"{where.postcode_prefix}{int(draws[1] * 40):02d}",
        "region": where.region,
        "community_id": f"community-{region + 1}-{community}" if draws[2] < 0.6 else None,
    }


def consent_versions(world: World, people: People, end_ms: int) -> pa.Table:
    """Return every version of every consent up to an instant; some are withdrawn later."""
    rng = np.random.default_rng([world.options.seed, 5])
    count = len(people.customer_ids)
    parts: list[pa.Table] = []
    for purpose, share in (("targeting", 0.7), ("health_research", 0.35)):
        asked = rng.random(count) < share + 0.15
        granted = rng.random(count) < share / (share + 0.15)
        withdrawn = granted & (rng.random(count) < 0.06)
        later = people.registered_ms + (
            rng.random(count) * np.maximum(end_ms - people.registered_ms, 0)
        ).astype(np.int64)
        for chosen, is_granted, moments in (
            (asked, granted, people.registered_ms + 60_000),
            (asked & withdrawn, np.zeros(count, dtype=np.bool_), later + 120_000),
        ):
            rows = np.flatnonzero(chosen & (moments <= end_ms))
            parts.append(
                pa.table(
                    {
                        "customer_id": pa.array([people.customer_ids[row] for row in rows]),
                        "purpose": pa.array([purpose] * rows.size, pa.string()),
                        "is_granted": pa.array(is_granted[rows]),
                        "updated_at": pa.array(moments[rows], pa.timestamp("ms")),
                    }
                )
            )
    table = pa.concat_tables([part for part in parts if part.num_rows])
    return table.sort_by([(name, "ascending") for name in ("updated_at", "customer_id", "purpose")])


def ratings(
    world: World, people: People, until: date, customer: Integers, item: Integers,
    bought_ms: Integers, rng: np.random.Generator,
) -> pa.Table:  # fmt: skip
    """Return ratings (1 to 5) of what was bought; they follow the planted taste plus noise.

    Their ids are the last day of the period and a running number: an id of what people do must
    not say who they are.
    """
    utility = people.utility(world, customer)[np.arange(customer.size), item]
    stars = np.clip(np.rint(3.3 + 0.9 * utility + rng.normal(0.0, 0.7, customer.size)), 1, 5)
    rated = bought_ms + rng.integers(1_800_000, 10 * 3_600_000, customer.size)
    comments = np.array([None, "Fresh and tasty", "Good value", "A bit dry", "Would buy again"])
    said = np.where(
        rng.random(customer.size) < 0.8, 0, np.where(stars >= 4, 1 + 3 * (stars == 5), 3)
    ).astype(np.int64)
    order = np.lexsort((customer, rated))
    return pa.table(
        {
            "rating_id": pa.array(
                [f"rating-{until:%Y%m%d}-{number:06x}" for number in range(order.size)], pa.string()
            ),
            "customer_id": pa.array(
                [people.customer_ids[who] for who in customer[order]], pa.string()
            ),
            "item_id": pa.array([world.items[one].item_id for one in item[order]], pa.string()),
            "rating": pa.array(stars[order].astype(np.int64)),
            "comment": pa.array(list(comments[said[order]]), pa.string()),
            "rated_at": pa.array(rated[order], pa.timestamp("ms")),
            "updated_at": pa.array(rated[order], pa.timestamp("ms")),
        }
    )  # fmt: skip
