"""Guests of the sample's restaurants: their clicks follow what is planted, and the orders."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from landing_zone import Home
from sample_networks import Sample, create_table, only, write

from loaders.entities import read_entities
from loaders.sample.network import SampleOptions

# Ten places are the fewest with a restaurant.
WITH_MENUS = SampleOptions(days=28, locations=10)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return write(tmp_path_factory.mktemp("menus"), WITH_MENUS)


@pytest.fixture(scope="module")
def menu(sample: Sample) -> Iterator[duckdb.DuckDBPyConnection]:
    """Hold the clicks of people (each once), the order lines of menus, and what is planted."""
    landing, truth, _ = sample
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        for entity in ("menu/menu_events", "orders/order_lines", "catalog/locations"):
            create_table(connection, landing, entity)
        for name in ("menus", "menu_sessions"):
            connection.execute(f"create table {name} as from '{truth / name}.parquet'")
        connection.execute(
            """
            create table clicks as
            select
                * replace (
                    occurred_at::timestamptz::timestamp as occurred_at,
                    position::int as position, dwell_seconds::double as dwell_seconds
                ),
                visitor_id in (
                    select visitor_id from menu_events where dwell_seconds::double = 0.1
                ) as is_bot,
            from (select distinct on (event_id) * from menu_events)
            """
        )
        yield connection


class TestWhatIsPlanted:
    def test_each_order_of_a_menu_is_the_end_of_a_session_and_no_other_is_placed(
        self, menu: duckdb.DuckDBPyConnection
    ) -> None:
        """A line of the till is an `order_placed` of the same item at the same moment."""
        lines, unplaced, unsold, orders, without = only(
            menu,
            """
            with placed as (
                select distinct location_id, item_id, occurred_at from clicks
                where kind = 'order_placed'
            ),
            sold as (
                select distinct location_id, item_id, order_id,
                    ordered_at::timestamptz::timestamp as occurred_at
                from order_lines where channel = 'qr_menu' and order_id not like 'broken%'
            )
            select
                (select count(*) from sold),
                (select count(*) from sold anti join placed
                    using (location_id, item_id, occurred_at)),
                -- but those that a device has sent a second time, moments later
                (select count(*) from placed anti join sold
                    using (location_id, item_id, occurred_at)),
                (select count(distinct order_id) from sold),
                (select count(distinct order_id) from sold
                    anti join menu_sessions using (order_id))
            """,
        )
        assert lines > 500
        assert (unplaced, without) == (0, 0)
        assert unsold < 0.02 * lines
        assert only(menu, "select count(order_id) from menu_sessions") == (orders,)

    def test_as_many_order_as_the_conversion_says(self, menu: duckdb.DuckDBPyConnection) -> None:
        sessions, converted, wanted = only(
            menu,
            "select count(*), avg((order_id is not null)::int), "
            "(select any_value(conversion) from menus) from menu_sessions where not is_bot",
        )
        assert sessions > 1_000
        assert converted == pytest.approx(wanted, abs=0.05)

    def test_guests_look_where_the_position_says(self, menu: duckdb.DuckDBPyConnection) -> None:
        """Of those who went to a section: who looked at a position, whatever stood there."""
        for _position, looked, planted in menu.execute(
            """
            with seen as (
                select menu_version, section, count(distinct (visitor_id, occurred_at)) as guests
                from clicks where kind = 'section_viewed' and not is_bot group by all
            ),
            looked as (
                select menu_version, section, position,
                    count(distinct (visitor_id, date_trunc('hour', occurred_at))) as guests
                from clicks where kind in ('item_viewed', 'item_skipped') and not is_bot
                group by all
            )
            select position, sum(loo.guests) / sum(see.guests), any_value(examination)
            from looked as loo join seen as see using (menu_version, section)
            join menus using (menu_version, section, position)
            group by position order by position
            """
        ).fetchall():
            assert looked == pytest.approx(planted, abs=0.05)

    def test_they_stop_at_what_appeals(self, menu: duckdb.DuckDBPyConnection) -> None:
        rows = menu.execute(
            """
            select avg((kind = 'item_viewed')::int), any_value(appeal)
            from clicks join menus using (item_id, menu_version)
            where kind in ('item_viewed', 'item_skipped') and not is_bot
            group by item_id order by item_id
            """
        ).fetchall()
        assert len(rows) == 24
        assert max(planted for _, planted in rows) - min(planted for _, planted in rows) > 0.4
        for stopped, planted in rows:
            assert stopped == pytest.approx(planted, abs=0.09)

    def test_sections_are_visited_as_planted(self, menu: duckdb.DuckDBPyConnection) -> None:
        rows = menu.execute(
            """
            select count(*) / (select count(*) from menu_sessions where not is_bot),
                any_value(section_share)
            from clicks join (select distinct section, section_share from menus) using (section)
            where kind = 'section_viewed' and not is_bot group by section
            """
        ).fetchall()
        assert len(rows) == 3
        for visited, planted in rows:
            assert visited == pytest.approx(planted, abs=0.05)

    def test_the_new_menu_has_every_item_elsewhere(self, menu: duckdb.DuckDBPyConnection) -> None:
        versions, sums = only(
            menu,
            "select count(distinct menu_version), count(distinct total) from menus join "
            "(select item_id, sum(position) as total from menus group by all) using (item_id)",
        )
        assert (versions, sums) == (2, 1)
        assert only(
            menu,
            "select count(distinct menu_version) from clicks join menus "
            "using (menu_version, item_id, position, section)",
        ) == (2,)

    def test_what_appeals_is_read_for_longer(self, menu: duckdb.DuckDBPyConnection) -> None:
        (correlation,) = only(
            menu,
            """
            select corr(dwell, appeal) from (
                select any_value(appeal) as appeal, median(dwell_seconds) as dwell
                from clicks join menus using (item_id, menu_version)
                where kind = 'item_viewed' and not is_bot group by item_id
            )
            """,
        )
        assert correlation > 0.6


class TestSessions:
    def test_the_truth_knows_each_and_counts_its_events(
        self, menu: duckdb.DuckDBPyConnection
    ) -> None:
        events, viewed, added, opened, sent = only(
            menu,
            """
            select sum(events) + sum(sent_twice), sum(items_viewed), sum(items_added), count(*),
                (select count(*) from clicks)
            from menu_sessions
            """,
        )
        assert events == sent > 20_000
        assert viewed > 4 * added > 0
        (starts,) = only(
            menu,
            "select count(*) from menu_sessions as ses where exists (select 1 from clicks as cli "
            "where cli.kind = 'menu_opened' and cli.occurred_at = ses.started_at "
            "and cli.location_id = ses.location_id)",
        )
        assert starts == opened

    def test_guests_read_in_opening_hours_and_in_order(
        self, menu: duckdb.DuckDBPyConnection
    ) -> None:
        assert only(
            menu,
            """
            select count(*) from clicks join locations using (location_id)
            where not is_bot and timezone(time_zone, occurred_at at time zone 'UTC')::time
                not between '05:50' and '22:00'
            """,
        ) == (0,)
        (longest,) = only(
            menu, "select max(epoch(ended_at - started_at)) from menu_sessions where not is_bot"
        )
        assert 60 < longest < 1_200

    def test_some_sign_in_and_are_known_from_then_on(self, menu: duckdb.DuckDBPyConnection) -> None:
        known, unknown, before, telling = only(
            menu,
            """
            select
                count(distinct visitor_id) filter (customer_id is not null),
                count(distinct visitor_id) filter (customer_id is null),
                count(*) filter (kind in ('menu_opened', 'section_viewed')
                    and customer_id is not null and occurred_at = first_at),
                -- an id says nothing of who has it
                count(*) filter (contains(visitor_id, split_part(customer_id, '-', 2)))
            from (select *, min(occurred_at) over (partition by visitor_id) as first_at from clicks)
            """,
        )
        assert 50 < known < unknown
        assert (before, telling) == (0, 0)
        (devices,) = only(
            menu,
            "select max(devices) from (select count(distinct visitor_id) as devices from clicks "
            "where customer_id is not null group by customer_id)",
        )
        assert devices == 1

    def test_guests_who_are_not_known_come_again(self, menu: duckdb.DuckDBPyConnection) -> None:
        (again,) = only(
            menu,
            "select count(*) from (select visitor_id from clicks where customer_id is null "
            "group by all having count(distinct occurred_at::date) > 1)",
        )
        assert again > 20


class TestBlemishes:
    def test_robots_read_faster_than_people_can(self, menu: duckdb.DuckDBPyConnection) -> None:
        robots, slowest, people = only(
            menu,
            """
            select count(*) filter (is_bot),
                max(seconds / items_viewed) filter (is_bot),
                quantile_cont(seconds / items_viewed, 0.01) filter (not is_bot)
            from (select *, epoch(ended_at - started_at) as seconds from menu_sessions
                where items_viewed > 5)
            """,
        )
        assert 1 <= robots < 28
        assert slowest < 0.5 < 2 < people

    def test_some_clicks_are_sent_twice_under_the_same_id_or_another(
        self, menu: duckdb.DuckDBPyConnection, sample: Sample
    ) -> None:
        (planted,) = only(menu, "select sum(sent_twice) from menu_sessions")
        lines = sample[2].records["menu/menu_events"]
        (distinct,) = only(menu, "select count(*) from clicks")
        assert planted == pytest.approx(0.0075 * distinct, rel=0.3)
        assert lines - distinct == pytest.approx(0.0075 * distinct, rel=0.3)

    def test_a_restaurant_without_network_sends_later(self, sample: Sample) -> None:
        late = sample[0] / "menu/menu_events/2019-04-27-offline.ndjson"
        assert '"occurred_at":"2019-04-27T' in late.read_text()


class TestFiles:
    def test_raw_takes_every_click_once_and_rejects_none(
        self, sample: Sample, home: Home, menu: duckdb.DuckDBPyConnection
    ) -> None:
        shutil.copytree(sample[0] / "menu", home.settings.landing_folder / "menu")
        home.load()
        assert home.rejections() == []
        (clicks,) = only(menu, "select count(*) from clicks")
        assert len(set(home.keys("menu/menu_events"))) == clicks

    def test_fields_are_those_of_the_contract(self, menu: duckdb.DuckDBPyConnection) -> None:
        sent = {row[0] for row in menu.execute("describe menu_events").fetchall()}
        assert sent == {field.name for field in read_entities()["menu/menu_events"].fields}

    def test_more_demand_gives_more_guests(self, sample: Sample, tmp_path: Path) -> None:
        busy = write(tmp_path, replace(WITH_MENUS, days=7, scale=3.0))[2]
        usual = sample[2].records["menu/menu_events"] / 4
        assert busy.records["menu/menu_events"] == pytest.approx(3 * usual, rel=0.3)

    def test_nothing_of_it_changes_what_was_there_before(
        self, sample: Sample, tmp_path: Path
    ) -> None:
        """Trips and menus have random numbers of their own."""
        without, _, _ = write(tmp_path, replace(WITH_MENUS, recent_days=0))
        for source in ("fridge", "orders", "accounts", "catalog", "feedback", "trends"):
            files = [path for path in (without / source).rglob("*") if path.is_file()]
            assert files
            for path in files:
                assert path.read_bytes() == (sample[0] / path.relative_to(without)).read_bytes()
        assert not (without / "menu").exists()
        assert not (without / "trips/trip_events").exists()
