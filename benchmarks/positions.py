"""Five million positions: how much memory a build takes, and what the next hour costs.

Vans on rounds of some hours report every half minute, in the provider's nested bodies, past a grid
of geofences; then one more hour of the same vans comes. Targets: 4 GB, and a ratio of at most 1.5.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from benchmarks.growth import Kind, hour_of, measure
from larder.settings import Settings
from larder.warehouse import literal

POSITIONS = 5_000_000
A_TRIP = 500  # half a minute apart: four hours
VANS = 500
HOUR = 120
ROUNDS_A_DAY = 4
FENCES_A_SIDE = 30

# A van drives a rectangle of streets, 0.003 degrees (330 m) a step, from a corner of its own.
BODIES = """
copy (
    select to_json({{
        event: {{
            _id: 'e-' || trip || '-' || step,
            createdAt: strftime(moment, '%Y-%m-%dT%H:%M:%S.%gZ'),
            type: case step when 0 then 'user.started_trip' when {last} then 'user.stopped_trip'
                else 'user.updated_trip' end,
            location: {{
                type: 'Point',
                coordinates: [
                    round(-120 + (van % 25) * 0.01 + 0.003 * abs(step % 60 - 30), 7),
                    round(36 + (van // 25) * 0.01 + 0.003 * abs((step + 10) % 60 - 30), 7)
                ]
            }},
            user: {{
                _id: 'driver-' || van,
                MMUserId: 'account-' || van,
                trip: {{
                    _id: 'trip-' || trip,
                    externalId: 'round-' || trip,
                    createdAt: strftime(started, '%Y-%m-%dT%H:%M:%S.%gZ'),
                    updatedAt: strftime(moment, '%Y-%m-%dT%H:%M:%S.%gZ'),
                    MMUserId: 'account-' || van,
                    startedAt: strftime(started, '%Y-%m-%dT%H:%M:%S.%gZ'),
                    metadata: {{route_session_type: 'delivery', route_session_id: 's-' || trip}}
                }}
            }}
        }}
    }}) as body
    from (
        select
            trip,
            trip % {vans} as van,
            step,
            timestamp '2024-01-01' + to_hours((trip // {vans}) * (24 // {rounds})) as started,
            started + to_seconds(30 * step) as moment
        from range({first_trip}, {last_trip}) as trips (trip)
        cross join range({first}, {until}) as steps (step)
    )
    order by moment
) to {file} (format csv, header false, quote '', escape '', delimiter e'\\x01')
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the memory of a full build and the cost of an hour after two histories."""
    measure(KIND, str(__doc__), POSITIONS, VANS, arguments)


def _write(settings: Settings, positions: int, vans: int) -> None:
    trips = max(positions // A_TRIP // vans, 2) * vans
    with duckdb.connect() as connection:
        # the newest round of each van has an hour to go
        last = (trips - vans, trips)
        for name, rounds, steps in (
            ("history", (0, trips - vans), (0, A_TRIP)),
            ("newest", last, (0, A_TRIP - HOUR)),
            ("hour", last, (A_TRIP - HOUR, A_TRIP)),
        ):
            connection.execute(_bodies(settings, name, vans, rounds, steps))
    _write_fences(settings)
    hour = settings.landing_folder / "trips" / "trip_events" / "hour.ndjson"
    hour.replace(hour_of(settings))


def _bodies(
    settings: Settings, name: str, vans: int, trips: tuple[int, int], steps: tuple[int, int]
) -> str:
    """Give the statement that writes these trips, from one step to before another, by time."""
    file = settings.landing_folder / "trips" / "trip_events" / f"{name}.ndjson"
    return BODIES.format(
        last=A_TRIP - 1,
        vans=vans,
        rounds=ROUNDS_A_DAY,
        first_trip=trips[0],
        last_trip=trips[1],
        first=steps[0],
        until=steps[1],
        file=literal(str(file)),
    )


def _write_fences(settings: Settings) -> None:
    """Write circles of 200 m and, every third, a square in their place."""
    lines = []
    for number in range(FENCES_A_SIDE**2):
        east = -120 + 0.3 * (number % FENCES_A_SIDE) / FENCES_A_SIDE
        north = 36 + 0.3 * (number // FENCES_A_SIDE) / FENCES_A_SIDE
        shape = f'"centre": [{east:.6f}, {north:.6f}], "radius_metres": 200'
        if number % 3 == 0:
            corners = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
            ring = [[round(east + 0.002 * x, 6), round(north + 0.002 * y, 6)] for x, y in corners]
            shape = f'"polygon": {{"type": "Polygon", "coordinates": [{ring}]}}'
        lines.append(
            f'{{"geofence_id": "fence-{number}", "geofence_name": "Fence {number}", '
            f'"updated_at": "2023-12-01T00:00:00Z", {shape}}}\n'
        )
    file = settings.landing_folder / "trips" / "geofences" / "fences.ndjson"
    file.parent.mkdir(parents=True)
    file.write_text("".join(lines), encoding="utf-8")


KIND = Kind(
    name="positions",
    entity="trips/trip_events",
    selected=("+fct_trips", "+fct_geofence_visits", "+dim_geofences"),
    write=_write,
    least=2 * A_TRIP,  # two rounds of each van
    counts="""
        select (select count(*) from marts.fct_trips) || ' trips, '
        || (select count(*) from marts.fct_geofence_visits where evidence = 'derived')
        || ' visits, ' || (
            select sum((position_flag = 'good')::int) from marts.fct_trip_events
        ) || ' good positions'
    """,
)


if __name__ == "__main__":
    main()
