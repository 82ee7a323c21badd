"""Draw a fence around every place that a van stops at: circles mostly, some rectangles.

Everything is measured on the plane that touches a region at its centre: metres east and north of
it. Over the few tens of kilometres of a region that is off by about a metre in a thousand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from loaders.sample.arrays import Flags, Floats, Integers
from loaders.sample.catalogue import World

METRES_A_DEGREE: Final = 111_194.93
"""Along a meridian, on a sphere of 6,371 km radius (the one that haversine formulas take)."""
_YARD_DEGREES: Final = -0.1  # where a region's depot lies, seen from its centre
_RADII: Final = (60.0, 150.0)
_YARD_RADIUS: Final = 200.0
_EVERY_RECTANGLE: Final = 6
DEPOTS: Final = 2
"""Only the first regions have a depot in the catalogue; vans of the others start from a yard."""


@dataclass(frozen=True)
class Plane:
    """Turn degrees into metres east and north of a region's centre, and back."""

    latitude: float
    longitude: float

    @property
    def _metres_a_longitude(self) -> float:
        return METRES_A_DEGREE * float(np.cos(np.radians(self.latitude)))

    def metres(self, latitude: Floats, longitude: Floats) -> Floats:
        """Return points [N, 2] in metres."""
        east = (longitude - self.longitude) * self._metres_a_longitude
        north = (latitude - self.latitude) * METRES_A_DEGREE
        return np.stack([east, north], axis=-1)

    def degrees(self, points: Floats) -> Floats:
        """Return points [N, 2] as longitude and latitude, to a tenth of a metre."""
        longitude = self.longitude + points[..., 0] / self._metres_a_longitude
        latitude = self.latitude + points[..., 1] / METRES_A_DEGREE
        rounded: Floats = np.stack([longitude, latitude], axis=-1).round(6)
        return rounded


@dataclass(frozen=True)
class Fences:
    """Hold the fences of a region (F); a circle has a radius, a rectangle half its two sides."""

    plane: Plane
    geofence_ids: tuple[str, ...]
    names: tuple[str, ...]
    location_ids: tuple[str | None, ...]
    location_rows: Integers  # [F]; -1: the region's yard
    centres: Floats  # [F, 2] metres
    is_rectangle: Flags  # [F]
    half_sides: Floats  # [F, 2] metres; both are the radius of a circle

    def hold(self, fences: Integers, points: Floats) -> Flags:
        """Tell which points [N, 2] lie in which of some fences: [N, len(fences)]."""
        away = np.abs(points[:, None, :] - self.centres[fences])
        half = self.half_sides[fences]
        held: Flags = np.where(
            self.is_rectangle[fences],
            (away <= half).all(axis=2),
            np.hypot(away[..., 0], away[..., 1]) <= half[:, 0],
        )
        return held

    def near(self, points: Floats) -> Integers:
        """Return the fences that touch the box around some points."""
        touches = (self.centres + self.half_sides >= points.min(axis=0)) & (
            self.centres - self.half_sides <= points.max(axis=0)
        )
        return np.flatnonzero(touches.all(axis=1))

    def crossings(self, fence: int, starts: Floats, ends: Floats) -> tuple[Floats, Floats]:
        """Return from where to where each straight leg [N, 2] lies in a fence, as shares of it.

        A leg outside has a share that begins after it ends.
        """
        here, along = starts - self.centres[fence], ends - starts
        if self.is_rectangle[fence]:
            return _through_rectangle(here, along, self.half_sides[fence])
        return _through_circle(here, along, float(self.half_sides[fence, 0]))


def _through_circle(here: Floats, along: Floats, radius: float) -> tuple[Floats, Floats]:
    """Solve |here + t along| = radius for t (a quadratic), cut to the leg."""
    a = (along**2).sum(axis=1)
    b = (here * along).sum(axis=1)
    c = (here**2).sum(axis=1) - radius**2
    root = np.sqrt(np.maximum(b * b - a * c, 0.0))
    stands = a == 0
    a = np.where(stands, 1.0, a)
    first = np.where(stands, np.where(c <= 0, 0.0, 1.0), (-b - root) / a)
    last = np.where(stands, np.where(c <= 0, 1.0, 0.0), (-b + root) / a)
    misses = ~stands & (b * b - a * c <= 0)
    return np.where(misses, 1.0, np.maximum(first, 0.0)), np.where(
        misses, 0.0, np.minimum(last, 1.0)
    )


def _through_rectangle(here: Floats, along: Floats, half: Floats) -> tuple[Floats, Floats]:
    """Clip a leg to two slabs (Liang and Barsky)."""
    moves = along != 0
    step = np.where(moves, along, 1.0)
    low, high = (-half - here) / step, (half - here) / step
    outside = ~moves & (np.abs(here) > half)
    enters = np.where(moves, np.minimum(low, high), np.where(outside, 2.0, -1.0))
    leaves = np.where(moves, np.maximum(low, high), np.where(outside, -1.0, 2.0))
    return np.maximum(enters.max(axis=1), 0.0), np.minimum(leaves.min(axis=1), 1.0)


def make_fences(world: World) -> tuple[Fences, ...]:
    """Return the fences of each region: one a selling location, the last around the vans' yard.

    The yard is the region's depot where the catalogue has one.
    """
    rng = np.random.default_rng([world.options.seed, 11])
    sizes = rng.uniform(*_RADII, len(world.locations))
    sides = rng.uniform(0.6, 1.0, (len(world.locations), 2))
    fences = []
    for number, region in enumerate(world.regions):
        plane = Plane(region.latitude, region.longitude)
        rows = np.flatnonzero(world.region_rows == number)
        at = [world.locations[row] for row in rows]
        yard = np.array([region.latitude, region.longitude]) + _YARD_DEGREES
        latitudes = np.array([*(one.latitude for one in at), yard[0]])
        longitudes = np.array([*(one.longitude for one in at), yard[1]])
        half_sides = np.where(
            (rows % _EVERY_RECTANGLE == 4)[:, None], sizes[rows, None] * sides[rows],
            sizes[rows, None],
        ).round()  # fmt: skip
        depot = f"depot-{number + 1}" if number < DEPOTS else None
        fences.append(
            Fences(
                plane=plane,
                geofence_ids=(*(f"fence-{one.location_id}" for one in at), f"yard-{number + 1}"),
                names=(*(one.location_name for one in at), f"{region.region} yard"),
                location_ids=(*(one.location_id for one in at), depot),
                location_rows=np.append(rows, -1),
                centres=plane.metres(latitudes, longitudes),
                is_rectangle=np.append(rows % _EVERY_RECTANGLE == 4, False),
                half_sides=np.append(half_sides, [[_YARD_RADIUS, _YARD_RADIUS]], axis=0),
            )
        )
    return tuple(fences)
