"""What the sample network tells: true to the policy, the tastes and the demand that it plants."""

from __future__ import annotations

import math

import duckdb
import pytest
from sample_networks import only


class TestEvents:
    def test_ids_are_unique_and_follow_time(self, network: duckdb.DuckDBPyConnection) -> None:
        count, distinct, wrong = only(
            network,
            """
            select count(*), count(distinct event_id), count(*) filter (
                ('0x' || event_id[:12])::bigint != epoch_ms(occurred_at)
            )
            from events
            """,
        )
        assert count == distinct > 10_000
        assert wrong == 0

    def test_every_moment_is_within_its_hours(self, network: duckdb.DuckDBPyConnection) -> None:
        assert only(
            network,
            """
            select
                count(*) filter (kind = 'restocked'
                    and local_at::time not between '05:00' and '06:00'),
                count(*) filter (kind in ('taken', 'put_back')
                    and local_at::time not between '06:00' and '21:59:59'),
                count(*) filter (reason = 'expired' and local_at::time != '22:00'),
                count(*) filter (reason = 'expired' and expires_on != local_at::date)
            from events
            """,
        ) == (0, 0, 0, 0)

    def test_nothing_is_sold_beyond_its_expiry(self, network: duckdb.DuckDBPyConnection) -> None:
        assert only(
            network,
            "select count(*) from events where kind = 'taken' and expires_on < local_at::date",
        ) == (0,)

    def test_shelf_lives_are_two_to_five_days(self, network: duckdb.DuckDBPyConnection) -> None:
        assert only(
            network,
            """
            select count(*), min(shelf_life_days::int), max(shelf_life_days::int)
            from (
                select distinct
                    itm.shelf_life_days, eve.expires_on - eve.local_at::date + 1 as lived
                from events as eve join items as itm using (item_id)
                where eve.kind = 'restocked'
            )
            where lived = shelf_life_days::int
            """,
        ) == (4, 2, 5)

    def test_stock_never_goes_below_zero_and_counts_explain_the_rest(
        self, network: duckdb.DuckDBPyConnection
    ) -> None:
        """Walk event by event: the estimate, corrected by counts, covers all that leaves."""
        rows = network.execute(
            "select location_id, item_id, kind, quantity, change, reason from events "
            "order by location_id, item_id, event_id"
        ).fetchall()
        stock: dict[tuple[str, str], int] = {}
        missing = 0
        for location, item, kind, quantity, change, reason in rows:
            pair = (location, item)
            if kind == "counted":
                assert quantity <= stock.get(pair, 0)
                assert (reason == "missing") == (quantity < stock.get(pair, 0))
                missing += stock.get(pair, 0) - quantity
                stock[pair] = quantity
            else:
                stock[pair] = stock.get(pair, 0) + change
            assert stock[pair] >= 0
        assert missing > 0
        (vanished,) = only(network, "select sum(vanished_units) from policy")
        assert missing <= vanished

    def test_each_delivery_is_used_up_or_thrown_away(
        self, network: duckdb.DuckDBPyConnection
    ) -> None:
        """Per location, item and expiry no more leaves than came, and what stays has vanished."""
        more, left, vanished = only(
            network,
            """
            with lots as (
                select
                    sum(change) as left_units,
                    max(expires_on) < (select max(local_at)::date from events) as is_over
                from events where kind != 'counted'
                group by location_id, item_id, expires_on
            )
            select
                count(*) filter (left_units < 0),
                sum(left_units) filter (is_over),
                (select sum(vanished_units) from policy)
            from lots
            """,
        )
        assert more == 0
        assert 0 < left <= vanished

    def test_first_in_is_first_out(self, network: duckdb.DuckDBPyConnection) -> None:
        """A unit is taken only when every older lot is used up by the end of that day."""
        (wrong,) = only(
            network,
            """
            with days as (
                select
                    location_id, item_id, expires_on, local_at::date as on_date,
                    sum(change) as change,
                    sum(case kind when 'taken' then quantity when 'put_back' then -quantity
                        else 0 end) as sold,
                from events where kind != 'counted'
                group by all
            ),
            balances as (
                select *, sum(change) over (
                    partition by location_id, item_id, expires_on order by on_date
                ) as left_units
                from days
            )
            select count(*)
            from balances as young join balances as old
                on young.location_id = old.location_id and young.item_id = old.item_id
                and young.on_date = old.on_date and young.expires_on > old.expires_on
            where young.sold > 0 and old.sold > 0 and old.left_units > 1
            """,
        )
        assert wrong == 0

    def test_put_backs_belong_to_a_take_of_the_same_basket(
        self, network: duckdb.DuckDBPyConnection
    ) -> None:
        put_back, wrong = only(
            network,
            """
            select count(*), count(*) filter (not exists (
                select 1 from events as tak
                where tak.kind = 'taken' and tak.basket_id = put.basket_id
                    and tak.item_id = put.item_id and tak.occurred_at < put.occurred_at
            ))
            from events as put where put.kind = 'put_back'
            """,
        )
        assert put_back > 50
        assert wrong == 0

    def test_about_half_of_the_baskets_are_known(self, network: duckdb.DuckDBPyConnection) -> None:
        share, mixed, largest = only(
            network,
            """
            with baskets as (
                select count(distinct location_id) + count(distinct coalesce(customer_id, '')) as n,
                    max(customer_id) as customer_id, sum(quantity) as units
                from events where basket_id is not null and kind = 'taken' group by basket_id
            )
            select avg((customer_id is not null)::int), count(*) filter (n != 2), max(units)
            from baskets
            """,
        )
        assert 0.35 < share < 0.6
        assert mixed == 0
        assert largest <= 8

    def test_every_feed_ends_at_the_last_closing(self, network: duckdb.DuckDBPyConnection) -> None:
        (fridges,) = only(network, "select count(*) from locations where kind = 'fridge'")
        assert only(
            network,
            "select count(distinct location_id) from events where local_at = '2019-04-30 22:00'",
        ) == (fridges,)

    def test_prices_are_those_of_the_catalogue(self, network: duckdb.DuckDBPyConnection) -> None:
        (wrong,) = only(
            network,
            """
            with prices as (
                select *, lead(updated_at::timestamptz::timestamp, 1, '2100-01-01') over (
                    partition by item_id order by updated_at::timestamptz
                ) as until
                from items
            )
            select count(*)
            from events as eve join prices as pri
                on pri.item_id = eve.item_id and eve.occurred_at < pri.until
                and eve.occurred_at >= pri.updated_at::timestamptz::timestamp
            where eve.kind = 'taken' and abs(
                eve.unit_price_usd::double
                - pri.price_usd::double * if(eve.is_promoted::boolean, 0.8, 1.0)
            ) > 0.01
            """,
        )
        assert wrong == 0


class TestStockingPolicy:
    def test_the_order_fills_up_to_the_level(self, network: duckdb.DuckDBPyConnection) -> None:
        """Rebuild each evening's stock from the events alone: order = max(0, level - stock)."""
        rows = network.execute(
            """
            select location_id, item_id, local_at::date, kind, quantity, change from events
            order by location_id, item_id, event_id
            """
        ).fetchall()
        closing: dict[tuple[str, str, object], int] = {}
        restocked: dict[tuple[str, str, object], int] = {}
        stock: dict[tuple[str, str], int] = {}
        for location, item, on, kind, quantity, change in rows:
            before = stock.get((location, item), 0)
            stock[location, item] = quantity if kind == "counted" else before + change
            if kind == "restocked":
                restocked[location, item, on] = quantity
            closing[location, item, on] = stock[location, item]
        last: dict[tuple[str, str], int] = {}
        checked = 0
        for location, item, on, level, units in network.execute(
            "select location_id, item_id, date, order_up_to, restocked_units from policy "
            "order by date"
        ).fetchall():
            evening = last.get((location, item), 0)
            assert units == max(0, level - evening)
            assert units == restocked.get((location, item, on), 0)
            last[location, item] = closing.get((location, item, on), evening)
            checked += 1
        assert checked == 56 * 7 * 24

    def test_the_level_is_that_of_the_design(self, network: duckdb.DuckDBPyConnection) -> None:
        """Level = ceil(28-day mean of sales x min(shelf life, 2) + bias), bias in U(0, 3)."""
        rows = network.execute(
            """
            with sales as (
                select location_id, item_id, local_at::date as date,
                    sum(case kind when 'taken' then quantity else -quantity end) as sold
                from events where kind in ('taken', 'put_back') group by all
            ),
            means as (
                select pol.*, loc.stocking_bias, itm.shelf_life_days::int as shelf_life,
                    coalesce(sum(sal.sold) over (
                        partition by pol.location_id, pol.item_id order by pol.date
                        rows between 28 preceding and 1 preceding
                    ), 0) / 28 as mean_sales
                from policy as pol
                left join sales as sal using (location_id, item_id, date)
                join truth_locations as loc using (location_id)
                join (select distinct item_id, shelf_life_days from items) as itm using (item_id)
            )
            select mean_sales, sales_mean_28, shelf_life, stocking_bias, order_up_to
            from means where date >= date '2019-03-06' + 28
            """
        ).fetchall()
        assert len(rows) == 28 * 7 * 24
        for mean, recorded, shelf_life, bias, level in rows:
            assert recorded == pytest.approx(mean, abs=1e-9)
            assert 0 <= bias <= 3
            assert level == math.ceil(recorded * min(shelf_life, 2) + bias)

    def test_what_is_ordered_fits_into_the_fridge(self, network: duckdb.DuckDBPyConnection) -> None:
        assert only(
            network,
            """
            select count(*) from (
                select location_id, date, sum(order_up_to) as units from policy group by all
            ) join locations using (location_id) where units > capacity_units::int
            """,
        ) == (0,)

    def test_there_is_waste_and_there_are_empty_shelves(
        self, network: duckdb.DuckDBPyConnection
    ) -> None:
        sold, wasted, wanted = only(
            network,
            """
            select
                -sum(change) filter (kind in ('taken', 'put_back')),
                -sum(change) filter (kind = 'discarded'),
                (select sum(wanted_units) from intensity join locations using (location_id)
                 where kind = 'fridge')
            from events
            """,
        )
        assert 0.1 < wasted / (sold + wasted) < 0.35
        assert 0.9 < sold / wanted < 0.995


class TestTruth:
    def test_it_has_every_location_item_and_day(self, network: duckdb.DuckDBPyConnection) -> None:
        assert only(
            network,
            "select count(*), count(distinct (location_id, item_id, date)) from intensity",
        ) == (8 * 24 * 56, 8 * 24 * 56)

    def test_orders_follow_the_planted_intensity(self, network: duckdb.DuckDBPyConnection) -> None:
        """Where nothing limits sales they are Poisson around the truth: z within 4."""
        ordered, wanted = only(
            network,
            """
            select
                (select sum(quantity::bigint) from order_lines
                 where status = 'placed' and channel != 'subscription'
                     and order_id not like 'broken%'),
                (select sum(wanted_units) from intensity join locations using (location_id)
                 where kind != 'fridge')
            """,
        )
        assert abs(ordered - wanted) < 4 * math.sqrt(wanted)

    def test_real_demand_is_behind_it(self, network: duckdb.DuckDBPyConnection) -> None:
        """Days on which the bakeries were closed have no sales: Good Friday 2019."""
        assert only(
            network, "select sum(wanted_units) from intensity where date = '2019-04-19'"
        ) == (0.0,)
        assert only(
            network,
            "select count(*) from events where kind = 'taken' and local_at::date = '2019-04-19'",
        ) == (0,)

    def test_who_buys_and_how_it_is_rated_follow_taste(
        self, network: duckdb.DuckDBPyConnection
    ) -> None:
        bought, usual = only(
            network,
            """
            select
                (select avg(utility) from events join tastes using (customer_id, item_id)
                 where kind = 'taken'),
                (select avg(utility) from tastes)
            """,
        )
        assert bought > usual + 0.3
        (correlation,) = only(
            network,
            """
            select corr(rating::int, utility)
            from ratings join tastes using (customer_id, item_id)
            """,
        )
        assert correlation > 0.5


class TestOrders:
    def test_status_only_moves_on(self, network: duckdb.DuckDBPyConnection) -> None:
        histories = {
            row[0]
            for row in network.execute(
                """
                select string_agg(status, ' ' order by updated_at::timestamptz)
                from order_lines where order_id not like 'broken%'
                group by order_id, line_number
                """
            ).fetchall()
        }
        assert histories == {
            "placed", "placed picked_up", "placed cancelled", "placed picked_up refunded",
        }  # fmt: skip

    def test_versions_have_distinct_keys(self, network: duckdb.DuckDBPyConnection) -> None:
        count, distinct = only(
            network,
            "select count(*), count(distinct (order_id, line_number, updated_at)) from order_lines",
        )
        assert count == distinct

    def test_fridges_send_subscriptions_only_and_each_was_taken(
        self, network: duckdb.DuckDBPyConnection
    ) -> None:
        lines, other, not_taken = only(
            network,
            """
            select
                count(*),
                count(*) filter (channel != 'subscription'),
                count(*) filter (lin.status = 'picked_up' and not exists (
                    select 1 from events as tak
                    where tak.kind = 'taken' and tak.customer_id = lin.customer_id
                        and tak.item_id = lin.item_id and tak.location_id = lin.location_id
                        and tak.occurred_at <= lin.updated_at::timestamptz::timestamp
                        and tak.local_at::date = timezone(
                            loc.time_zone, lin.updated_at::timestamptz
                        )::date
                ))
            from order_lines as lin join locations as loc using (location_id)
            where loc.kind = 'fridge'
            """,
        )
        assert lines > 10
        assert (other, not_taken) == (0, 0)

    def test_one_location_in_five_sends_orders_instead_of_events(
        self, network: duckdb.DuckDBPyConnection
    ) -> None:
        assert only(
            network,
            """
            select count(*) from (select distinct location_id from events)
            join locations using (location_id) where kind != 'fridge'
            """,
        ) == (0,)
        assert only(
            network, "select count(*) from locations where kind in ('kiosk', 'store', 'restaurant')"
        ) == (1,)


class TestPeople:
    def test_nobody_is_real(self, network: duckdb.DuckDBPyConnection) -> None:
        people, wrong = only(
            network,
            """
            select count(distinct customer_id), count(*) filter (
                email not like '%@example.com' or phone not like '+1-%-555-01__'
            )
            from customers
            """,
        )
        assert people == pytest.approx(115 * 8, rel=0.01)
        assert wrong == 0

    def test_some_have_several_versions(self, network: duckdb.DuckDBPyConnection) -> None:
        several, joined, left_family, moved = only(
            network,
            """
            with versions as (
                select count(*) as n, count(family_joined_at) as joined,
                    count(family_left_at) as left_family, count(distinct region) as regions
                from customers group by customer_id
            )
            select count(*) filter (n > 1), count(*) filter (joined > 0),
                count(*) filter (left_family > 0), count(*) filter (regions > 1)
            from versions
            """,
        )
        assert several > 200
        assert joined > 200
        assert left_family > 20
        assert moved > 5
