"""Five million clicks on menus: how much memory a build takes, and what the next hour costs.

Guests of fifty restaurants, ten an hour in each, look through the menu; one in three adds something
and one in six orders. They come again every thirty days or so. Then one more hour of guests comes.
Targets: 4 GB, and a ratio of at most 1.5 for what is incremental; the reports are made whole.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from benchmarks.growth import Kind, hour_of, measure
from larder.settings import Settings
from larder.warehouse import literal

CLICKS = 5_000_000
RESTAURANTS = 50
GUESTS_AN_HOUR = 10
HOURS_A_DAY = 10
REGULARS = 3_000
# Of ten clicks that a guest may make, 8.5 are made in the mean.
MEAN_CLICKS = 8.5

EVENTS = """
copy (
    select to_json({{
        event_id: 'c-' || guest || '-' || step,
        occurred_at: strftime(
            timestamp '2024-01-01 11:00:00' + to_days((hour // {hours})::int)
            + to_hours(hour % {hours})
            + to_seconds((guest * 7919) % 2400 + 20 * step + (guest * 31 + step * 17) % 15),
            '%Y-%m-%dT%H:%M:%SZ'
        ),
        location_id: 'restaurant-' || place,
        visitor_id: 'visitor-' || place || '-' || hash(guest) % {regulars},
        kind: kinds[step + 1],
        item_id: case when step in (2, 3, 4, 5, 7, 8) then 'item-' || item end,
        section: 'section-' || item // 7,
        position: case when step in (2, 3, 4, 5, 7, 8) then item % 7 end,
        menu_version: 'v1',
        dwell_seconds: case when step in (2, 4, 7) then 1 + (guest + step) % 9 end
    }}) as body
    from (
        select
            guest,
            step,
            guest % {restaurants} as place,
            guest // {an_hour} as hour,
            hash(guest * 16 + case step when 8 then 7 else step end) % 42 as item,
            [
                'menu_opened', 'section_viewed', 'item_viewed', 'item_skipped', 'item_viewed',
                'item_skipped', 'section_viewed', 'item_viewed', 'item_added', 'order_placed'
            ] as kinds
        from range({first}, {until}) as guests (guest)
        cross join range(0, 10) as steps (step)
    )
    where step < 8 or (step = 8 and guest % 3 = 0) or (step = 9 and guest % 6 = 0)
    order by guest, step
) to {file} (format csv, header false, quote '', escape '', delimiter e'\\x01')
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the memory of a full build and the cost of an hour after two histories."""
    measure(KIND, str(__doc__), CLICKS, RESTAURANTS, arguments)


def _write(settings: Settings, clicks: int, restaurants: int) -> None:
    an_hour = restaurants * GUESTS_AN_HOUR
    hours = max(int(clicks / MEAN_CLICKS / an_hour), 2)
    history = settings.landing_folder / "menu" / "menu_events" / "history.ndjson"
    with duckdb.connect() as connection:
        for file, first, until in (
            (history, 0, (hours - 1) * an_hour),
            (hour_of(settings), (hours - 1) * an_hour, hours * an_hour),
        ):
            connection.execute(
                EVENTS.format(
                    hours=HOURS_A_DAY,
                    regulars=REGULARS,
                    restaurants=restaurants,
                    an_hour=an_hour,
                    first=first,
                    until=until,
                    file=literal(str(file)),
                )
            )


KIND = Kind(
    name="clicks",
    entity="menu/menu_events",
    selected=("+fct_menu_events", "+fct_menu_sessions", "+rpt_menu_items", "+rpt_menu_funnel"),
    write=_write,
    counts="""
        select (select count(*) from marts.fct_menu_events where not is_bot) || ' clicks of '
        || (select count(*) from marts.fct_menu_sessions) || ' sessions, '
        || (select count(*) from marts.rpt_menu_items) || ' and '
        || (select count(*) from marts.rpt_menu_funnel) || ' rows of reports'
    """,
    whole=frozenset({"int_menu__shown_periods", "rpt_menu_funnel", "rpt_menu_items"}),
)


if __name__ == "__main__":
    main()
