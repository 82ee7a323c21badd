"""Drive vans along the fridges: where each is at any moment, and in which fence.

A round starts and ends at the region's yard. Streets are a grid, so a drive between two stops is
two straight legs, each at one speed; at a stop the van stands still. Distances and visits are
therefore known exactly, whatever positions are reported later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from loaders.sample.arrays import EPOCH, MILLISECONDS_A_DAY, Floats, Integers
from loaders.sample.catalogue import World
from loaders.sample.geofences import Fences
from loaders.sample.records import HOUR, MINUTE

MOST_STOPS: Final = 12
_LEAVES: Final = 4 * HOUR
"""Local time at which the first van leaves; deliveries are done before the fridges open or soon."""
_LONG_LEG_METRES: Final = 3_000.0
_SPEEDS_KMH: Final = ((22.0, 45.0), (48.0, 75.0))  # in a quarter, on a long leg
_STANDS_MINUTES: Final = (4.0, 9.0)
_REPORTS_SECONDS: Final = (30.0, 60.0)
_PARKS_METRES: Final = 12.0
_GPS_METRES: Final = 4.0


@dataclass(frozen=True)
class Visit:
    """Say when a van was in a fence, UTC milliseconds; -1: it was still there at the end."""

    fence: int
    entered_ms: int
    exited_ms: int


@dataclass(frozen=True)
class Round:
    """Hold one van's round: its stops, its path (V corners), and what it reports (P positions)."""

    route_id: str
    van: int
    fences: Fences
    stops: Integers  # fences in the order of the round
    arrived_ms: Integers  # at each stop
    left_ms: Integers
    corner_ms: Integers  # [V] UTC milliseconds
    corners: Floats  # [V, 2] metres
    reported_ms: Integers  # [P]
    reported: Floats  # [P, 2] metres, as the satellites see it

    @property
    def distance_metres(self) -> float:
        """The way that the van has really gone."""
        return float(np.hypot(*np.diff(self.corners, axis=0).T).sum())

    def visits(self) -> list[Visit]:
        """Return when the van really was in which fence, in order of time."""
        found: list[Visit] = []
        starts, ends = self.corners[:-1], self.corners[1:]
        begin, lasts = self.corner_ms[:-1], np.diff(self.corner_ms)
        for fence in self.fences.near(self.corners):
            first, last = self.fences.crossings(int(fence), starts, ends)
            legs = np.flatnonzero(first < last)
            enters = np.rint(begin[legs] + first[legs] * lasts[legs]).astype(np.int64)
            leaves = np.rint(begin[legs] + last[legs] * lasts[legs]).astype(np.int64)
            # legs that follow each other within the fence are one visit
            parts = np.flatnonzero(np.append(True, enters[1:] > leaves[:-1] + 1))
            for at, until in zip(parts, [*parts[1:], legs.size], strict=True):
                if legs.size:
                    end = int(leaves[until - 1])
                    found.append(
                        Visit(int(fence), int(enters[at]), -1 if end >= self.corner_ms[-1] else end)
                    )
        return sorted(found, key=lambda visit: (visit.entered_ms, visit.fence))


def drive_day(
    world: World, regions: tuple[Fences, ...], day: int, is_delivered: Integers
) -> list[Round]:
    """Return the rounds of a local day, which stop wherever something is delivered [L]."""
    rounds: list[Round] = []
    midnight = (world.date_of(day) - EPOCH).days * MILLISECONDS_A_DAY
    offsets = world.utc_offsets(day)
    routes = np.array([one.route_id for one in world.locations])
    for number, fences in enumerate(regions):
        in_region = (fences.location_rows >= 0) & (is_delivered[fences.location_rows] > 0)
        of_fence = routes[fences.location_rows]
        for route_number, route in enumerate(np.unique(of_fence[in_region])):
            stops = np.flatnonzero(in_region & (of_fence == route))
            start = midnight + _LEAVES - int(offsets[fences.location_rows[stops[0]]])
            for van, part in enumerate(_share_out(fences, stops)):
                rng = np.random.default_rng(
                    [world.options.seed, 12, day, number, route_number, van]
                )
                leaves = start + int(rng.uniform(0, 25 * MINUTE))
                rounds.append(_drive(fences, str(route), van, part, leaves, rng))
    return rounds


def _share_out(fences: Fences, stops: Integers) -> list[Integers]:
    """Give each van a sector of the route, and the stops in it from one to the nearest next."""
    from_yard = fences.centres[stops] - fences.centres[-1]
    around = stops[np.argsort(np.arctan2(from_yard[:, 1], from_yard[:, 0]), kind="stable")]
    parts = np.array_split(around, -(-stops.size // MOST_STOPS))
    return [_nearest_next(fences, part) for part in parts]


def _nearest_next(fences: Fences, stops: Integers) -> Integers:
    left, here, order = list(stops), fences.centres[-1], []
    while left:
        away = np.hypot(*(fences.centres[left] - here).T)
        order.append(left.pop(int(np.argmin(away))))
        here = fences.centres[order[-1]]
    return np.array(order, dtype=np.int64)


def _drive(
    fences: Fences, route_id: str, van: int, stops: Integers, leaves_ms: int,
    rng: np.random.Generator,
) -> Round:  # fmt: skip
    parked = fences.centres[stops] + rng.uniform(-_PARKS_METRES, _PARKS_METRES, (stops.size, 2))
    goals = np.concatenate([parked, fences.centres[-1:]])
    corners, moments = [fences.centres[-1]], [float(leaves_ms)]
    arrived, left = [], []
    for goal, is_stop in zip(goals, [True] * stops.size + [False], strict=True):
        here = corners[-1]
        corner = np.array([goal[0], here[1]] if rng.random() < 0.5 else [here[0], goal[1]])
        for target in (corner, goal):
            metres = float(np.hypot(*(target - corners[-1])))
            low, high = _SPEEDS_KMH[int(metres > _LONG_LEG_METRES)]
            moments.append(moments[-1] + metres / (rng.uniform(low, high) / 3.6) * 1000)
            corners.append(target)
        if is_stop:
            arrived.append(moments[-1])
            moments.append(moments[-1] + rng.uniform(*_STANDS_MINUTES) * MINUTE)
            corners.append(goal)
            left.append(moments[-1])
    corner_ms = np.rint(moments).astype(np.int64)
    path = np.stack(corners)
    lasts = int(corner_ms[-1] - corner_ms[0])
    gaps = rng.uniform(*_REPORTS_SECONDS, int(lasts / 1000 / _REPORTS_SECONDS[0]) + 1) * 1000
    reported_ms = corner_ms[0] + np.concatenate([[0], np.cumsum(gaps)]).astype(np.int64)
    # two reports within moments of each other would make a speed of the satellites' error
    before_end = reported_ms < corner_ms[-1] - 10_000
    reported_ms = np.append(reported_ms[before_end], corner_ms[-1])
    exact = np.stack([np.interp(reported_ms, corner_ms, path[:, axis]) for axis in (0, 1)], axis=1)
    return Round(
        route_id=route_id,
        van=van,
        fences=fences,
        stops=stops,
        arrived_ms=np.rint(arrived).astype(np.int64),
        left_ms=np.rint(left).astype(np.int64),
        corner_ms=corner_ms,
        corners=path,
        reported_ms=reported_ms,
        reported=exact + rng.normal(0.0, _GPS_METRES, exact.shape),
    )
