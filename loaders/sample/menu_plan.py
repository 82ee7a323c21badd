"""What is planted about reading menus: what appeals, where guests look, and what they then order.

A guest goes to a section with its share, looks at a position in it with its examination (the
examination hypothesis of position-based click models: Richardson, Dominowska and Ragno 2007), and
stops at what is looked at with the item's appeal; else it is skipped. What is ordered is told by
the orders, which are there already: given those, everything else is drawn from what is left of
these chances, so that they hold over all guests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from loaders.sample.arrays import Flags, Floats, Integers
from loaders.sample.catalogue import PERSONAS, World

CONVERSION: Final = 0.35
"""Sessions that end in an order."""
POSITION_DECAY: Final = 0.4
_SECTION_SHARES: Final = (0.92, 0.8, 0.65)
VERSIONS: Final = 2


@dataclass(frozen=True)
class MenuPlan:
    """Hold what is planted: [I] items, [S] sections, [R] restaurants, [V] versions of a menu."""

    restaurants: Integers  # [R] location rows
    sections: tuple[str, ...]
    section_of: Integers  # [I]
    section_shares: Floats  # [S]
    positions: Integers  # [V, R, I] from 1 on within a section
    appeal: Floats  # [I]
    version_days: tuple[int, ...]  # [V] the first day of each version

    def version(self, day: int) -> int:
        """Return which version is shown on a day."""
        return int(np.searchsorted(self.version_days, day, side="right")) - 1

    def examination(self, version: int, restaurant: int) -> Floats:
        """Return with which chance each item [I] is looked at in a section that is."""
        looked: Floats = self.positions[version, restaurant] ** -POSITION_DECAY
        return looked

    def draw(
        self, version: int, restaurant: int, wanted: Floats, ordered: Flags,
        rng: np.random.Generator,
    ) -> tuple[Flags, Flags, Flags]:  # fmt: skip
        """Draw what guests see, given what they order [N, I]: sections [N, S], stops, skips [N, I].

        `wanted` [I] says in which proportion items are ordered.
        """
        guests = ordered.shape[0]
        a_guest = ordered.sum() / max(guests, 1) * wanted / max(wanted.sum(), 1e-9)
        looked = self.examination(version, restaurant)
        rate = np.minimum(
            a_guest / self.section_shares[self.section_of], 0.9 * looked * self.appeal
        )
        # Bayes: what is left of stopping, and of skipping, where nothing is ordered
        stops = (looked * self.appeal - rate) / (1 - rate)
        skips = looked * (1 - self.appeal) / (1 - rate)
        draws = rng.random(ordered.shape)
        viewed = np.stack(
            [self._section(number, rate, ordered, guests, rng) for number in self._numbers], axis=1
        )
        seen = viewed[:, self.section_of]
        stopped = ordered | (seen & (draws < stops))
        return viewed, stopped, seen & ~stopped & (draws < stops + skips)

    @property
    def _numbers(self) -> range:
        return range(len(self.sections))

    def _section(
        self, number: int, rate: Floats, ordered: Flags, guests: int, rng: np.random.Generator
    ) -> Flags:
        within = self.section_of == number
        share = self.section_shares[number]
        nothing = share * np.prod(1 - rate[within])
        left = nothing / (nothing + 1 - share)
        viewed: Flags = ordered[:, within].any(axis=1) | (rng.random(guests) < left)
        return viewed


def make_plan(world: World) -> MenuPlan:
    """Plant appeals that follow the tastes of the personas, and menus in two orders each."""
    rng = np.random.default_rng([world.options.seed, 20])
    sizes = np.array([size for size, _ in PERSONAS.values()])
    liked = sizes @ world.persona_utility / sizes.sum()
    spread = max(float(liked.std()), 1e-9)
    drawn = 0.8 * (liked - liked.mean()) / spread + rng.normal(0.0, 0.5, liked.size) - 0.2
    restaurants = np.flatnonzero([one.kind == "restaurant" for one in world.locations])
    sections = tuple(sorted({item.category for item in world.items}))
    positions = np.zeros((VERSIONS, restaurants.size, len(world.items)), dtype=np.float64)
    for restaurant in range(restaurants.size):
        for section in range(len(sections)):
            within = np.flatnonzero(world.item_category == section)
            order = rng.permutation(within.size)
            # the new menu turns each section round: position and item can be told apart
            positions[0, restaurant, within] = 1 + order
            positions[1, restaurant, within] = within.size - order
    first = world.options.days - min(world.options.recent_days, world.options.days)
    return MenuPlan(
        restaurants=restaurants,
        sections=sections,
        section_of=world.item_category,
        section_shares=np.resize(_SECTION_SHARES, len(sections)),
        positions=positions.astype(np.int64),
        appeal=1 / (1 + np.exp(-drawn)),
        version_days=(0, first + (world.options.days - first) // 2),
    )


def planted_table(world: World, plan: MenuPlan) -> pa.Table:
    """Return the truth of menus: one row per restaurant, version and item."""
    rows = [
        {
            "location_id": world.locations[location].location_id,
            "menu_version": version_name(world, plan, version),
            "section": plan.sections[plan.section_of[item]],
            "item_id": world.items[item].item_id,
            "position": int(plan.positions[version, restaurant, item]),
            "section_share": float(plan.section_shares[plan.section_of[item]]),
            "examination": float(plan.examination(version, restaurant)[item]),
            "appeal": float(plan.appeal[item]),
            "conversion": CONVERSION,
        }
        for version in range(VERSIONS)
        for restaurant, location in enumerate(plan.restaurants)
        for item in range(len(world.items))
    ]
    return pa.Table.from_pylist(rows)


def version_name(world: World, plan: MenuPlan, version: int) -> str:
    """Name a version by the day from which on it is shown."""
    return f"menu-{world.date_of(plan.version_days[version])}"
