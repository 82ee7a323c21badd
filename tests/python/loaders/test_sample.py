"""The sample network: deterministic, conforming, and true to what it plants."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from loaders.entities import read_entities
from loaders.landing import find_files
from loaders.sample.network import (
    MARKER_NAME,
    SampleError,
    SampleOptions,
    SampleSummary,
    write_sample_network,
)

TINY = SampleOptions(days=7, locations=5)
# Eight weeks: long enough for the 28-day policy, and a change to summer time lies inside.
MEDIUM = SampleOptions(days=56, locations=8)
BROKEN_EVENTS, BROKEN_ORDERS = 8, 2

Sample = tuple[Path, Path, SampleSummary]


def write(folder: Path, options: SampleOptions) -> Sample:
    landing, truth = folder / "landing", folder / "truth"
    return landing, truth, write_sample_network(landing, truth, options)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def medium(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return write(tmp_path_factory.mktemp("medium"), MEDIUM)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return write(tmp_path_factory.mktemp("tiny"), TINY)


def select_from(path: Path) -> str:
    """Return SQL that reads a landing file as text columns, broken lines left out."""
    name = path.name
    if name.endswith(".parquet"):
        return f"select columns(*)::varchar from read_parquet('{path}')"
    if ".csv" in name:
        return f"select * from read_csv('{path}', all_varchar = true)"
    array = ".json" in name and ".jsonl" not in name
    return (
        f"select columns(*)::varchar from read_json('{path}', ignore_errors = "
        f"{'false' if array else 'true'}, sample_size = -1, "
        f"format = '{'array' if array else 'newline_delimited'}')"
    )


def create_table(connection: duckdb.DuckDBPyConnection, landing: Path, entity: str) -> None:
    files = sorted(path for path in (landing / entity).rglob("*") if path.is_file())
    selects = " union all by name ".join(select_from(path) for path in files)
    connection.execute(f"create table {entity.split('/')[1]} as select distinct * from ({selects})")


@pytest.fixture(scope="module")
def network(medium: Sample) -> Iterator[duckdb.DuckDBPyConnection]:
    """Hold the medium sample as tables: typed events, order lines, customers, the truth."""
    landing, truth, _ = medium
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        for entity in ("fridge/stock_events", "orders/order_lines", "catalog/locations"):
            create_table(connection, landing, entity)
        for entity in ("catalog/items", "accounts/customers", "feedback/ratings"):
            create_table(connection, landing, entity)
        connection.execute(
            """
            create table events as
            select
                eve.* replace (
                    occurred_at::timestamptz::timestamp as occurred_at,
                    quantity::bigint as quantity,
                    expires_on::date as expires_on
                ),
                timezone(loc.time_zone, occurred_at::timestamptz) as local_at,
                case eve.kind
                    when 'restocked' then quantity::bigint
                    when 'put_back' then quantity::bigint
                    when 'counted' then null
                    else -quantity::bigint
                end as change,
            from stock_events as eve
            join locations as loc using (location_id)
            where event_id not like 'broken%' and event_id is not null
            -- Delivered twice is once; the text of a value may differ with its file's format.
            qualify row_number() over (partition by event_id order by occurred_at) = 1
            """
        )
        for name in ("intensity", "policy", "tastes"):
            connection.execute(f"create table {name} as from '{truth / name}.parquet'")
        connection.execute(f"create table truth_locations as from '{truth}/locations.parquet'")
        yield connection


def only(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[float, ...]:
    row = connection.execute(sql).fetchall()[0]
    return tuple(row)


class TestFiles:
    def test_the_same_options_give_the_same_bytes(self, tiny: Sample, tmp_path: Path) -> None:
        landing, truth, _ = tiny
        again_landing, again_truth, _ = write(tmp_path, TINY)
        assert contents(landing) == contents(again_landing)
        assert contents(truth) == contents(again_truth)

    def test_another_seed_gives_other_events(self, tiny: Sample, tmp_path: Path) -> None:
        other, _, _ = write(tmp_path, replace(TINY, seed=8))
        first, second = contents(tiny[0]), contents(other)
        events = [name for name in first if name.startswith("fridge/stock_events/")]
        assert events
        assert all(first[name] != second[name] for name in events if name in second)

    def test_every_file_is_one_that_the_loader_knows(self, medium: Sample) -> None:
        landing, _, summary = medium
        files = list(find_files(landing))
        assert len(files) == summary.files
        assert all(file.entity and file.file_format for file in files)

    def test_every_format_is_exercised(self, medium: Sample) -> None:
        kinds = {(file.file_format, file.compression) for file in find_files(medium[0])}
        assert kinds >= {
            (".ndjson", None), (".ndjson", ".gz"), (".ndjson", ".zst"), (".jsonl", None),
            (".json", None), (".json", ".gz"), (".csv", None), (".csv", ".gz"),
            (".csv", ".zst"), (".parquet", None),
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("table", "name"),
        [
            ("ratings", "rating_id"),
            ("stock_events", "event_id"),
            ("stock_events", "basket_id"),
            ("order_lines", "order_id"),
        ],
    )
    def test_no_id_of_what_people_do_says_who_they_are(
        self, network: duckdb.DuckDBPyConnection, table: str, name: str
    ) -> None:
        rows, distinct, telling = only(
            network,
            f"""
            select
                count(*),
                count(distinct {name}),
                -- by chance a running number is that of the customer
                avg((
                    contains({name}, printf('%06x', customer - 1))
                    or contains({name}, printf('%06d', customer))
                )::int)
            from (
                select {name}, split_part(customer_id, '-', 2)::bigint as customer
                from {table}
                where customer_id is not null and {name} not like 'broken%'
            )
            """,
        )
        assert distinct > 200
        assert telling < 0.02
        assert table != "ratings" or rows == distinct

    def test_no_clock_time_is_in_a_gzip_header(self, medium: Sample) -> None:
        compressed = [file.path for file in find_files(medium[0]) if file.compression == ".gz"]
        assert compressed
        assert all(path.read_bytes()[4:8] == b"\0\0\0\0" for path in compressed)

    def test_fields_are_those_of_the_contract(self, medium: Sample) -> None:
        seen: dict[str, set[str]] = {}
        with duckdb.connect() as connection:
            for file in find_files(medium[0]):
                assert file.entity
                described = connection.execute(f"describe {select_from(file.path)}").fetchall()
                entity = f"{file.entity.source}/{file.entity.name}"
                seen.setdefault(entity, set()).update(row[0] for row in described)
        assert len(seen) == 11
        for entity, fields in seen.items():
            known = {field.name for field in read_entities()[entity].fields}
            required = {field.name for field in read_entities()[entity].fields if field.required}
            assert required <= fields <= known, entity

    def test_the_summary_counts_every_line(self, medium: Sample) -> None:
        landing, _, summary = medium
        with duckdb.connect() as connection:
            rows = 0
            for path in (landing / "feedback/ratings").iterdir():
                (count,) = only(connection, f"select count(*) from ({select_from(path)})")
                rows += int(count)
        assert summary.records["feedback/ratings"] == rows
        assert summary.stock_events == summary.records["fridge/stock_events"] > 10_000

    def test_the_truth_is_never_in_the_landing_zone(self, medium: Sample) -> None:
        landing, truth, _ = medium
        planted = {path.name for path in truth.iterdir()}
        assert planted == {
            "intensity.parquet", "policy.parquet", "tastes.parquet", "locations.parquet",
            "options.json",
        }  # fmt: skip
        assert not planted & {path.name for path in landing.rglob("*")}

    def test_blemishes_are_few_and_known(self, medium: Sample) -> None:
        landing = medium[0]
        lines = [
            line
            for path in landing.rglob("*-late.ndjson")
            for line in path.read_text().splitlines()
        ]
        again = [
            line
            for path in landing.rglob("*-late-again.ndjson")
            for line in path.read_text().splitlines()
        ]
        broken = [line for line in lines if '"broken-' in line or not line.startswith("{")]
        broken += [line for line in lines if '"event_id":null' in line]
        assert len(broken) == BROKEN_EVENTS
        assert again
        assert set(again) <= set(lines)
        tills = next(landing.rglob("*-faulty-till.ndjson"))
        assert len(tills.read_text().splitlines()) == BROKEN_ORDERS


class TestLandingZone:
    def test_a_second_call_changes_nothing(self, tiny: Sample) -> None:
        landing, truth, first = tiny
        before = {path: path.stat().st_mtime_ns for path in landing.rglob("*")}
        second = write_sample_network(landing, truth, TINY)
        assert second.was_there
        assert not first.was_there
        assert second == replace(first, was_there=True)
        assert before == {path: path.stat().st_mtime_ns for path in landing.rglob("*")}

    def test_a_stopped_call_is_completed(self, tiny: Sample, tmp_path: Path) -> None:
        landing, _, _ = write(tmp_path, TINY)
        marker = landing / MARKER_NAME
        found = json.loads(marker.read_text())
        del found["summary"]
        marker.write_text(json.dumps(found))
        gone = sorted((landing / "fridge/stock_events").iterdir())[-1]
        gone.rename(gone.with_name(f"{gone.name}.tmp"))
        (landing / "catalog/items/items.json").unlink()
        write(tmp_path, TINY)
        assert contents(landing) == contents(tiny[0])

    def test_other_options_are_refused(self, tiny: Sample) -> None:
        landing, truth, _ = tiny
        before = contents(landing)
        with pytest.raises(SampleError, match=r"other options .*--days 7 .*LARDER_HOME"):
            write_sample_network(landing, truth, replace(TINY, days=8))
        assert contents(landing) == before

    def test_a_users_own_files_are_never_mixed_with_it(self, tmp_path: Path) -> None:
        own = tmp_path / "landing/catalog/items/jane-doe.csv"
        own.parent.mkdir(parents=True)
        own.write_text("item_id\n1\n")
        with pytest.raises(SampleError, match=r"never mixed in") as caught:
            write(tmp_path, TINY)
        assert "catalog/items" in str(caught.value)
        assert "jane" not in str(caught.value)
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == [own]

    @pytest.mark.parametrize("name", [".DS_Store", "_note.txt", "catalog/items/half.csv.tmp"])
    def test_files_that_are_not_there_yet_do_not_matter(self, tmp_path: Path, name: str) -> None:
        other = tmp_path / "landing" / name
        other.parent.mkdir(parents=True)
        other.write_text("")
        assert write(tmp_path, replace(TINY, days=1))[2].stock_events > 0

    def test_an_unreadable_marker_is_named(self, tmp_path: Path) -> None:
        marker = tmp_path / "landing" / MARKER_NAME
        marker.parent.mkdir()
        marker.write_text("{")
        with pytest.raises(SampleError, match=MARKER_NAME):
            write(tmp_path, TINY)

    @pytest.mark.parametrize(
        ("name", "options"),
        [
            ("days", SampleOptions(days=0)),
            ("days", SampleOptions(days=1216)),
            ("locations", SampleOptions(locations=0)),
            ("items-per-product", SampleOptions(items_per_product=0)),
            ("seed", SampleOptions(seed=-1)),
            ("scale", SampleOptions(scale=0.0)),
            ("scale", SampleOptions(scale=math.nan)),
        ],
    )
    def test_an_option_out_of_range_is_named(
        self, tmp_path: Path, name: str, options: SampleOptions
    ) -> None:
        with pytest.raises(SampleError, match=f"--{name} "):
            write(tmp_path, options)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        "options",
        [
            SampleOptions(days=1, locations=1, items_per_product=1),
            SampleOptions(days=2, locations=71, items_per_product=2, scale=0.01),
            SampleOptions(days=3, locations=2, items_per_product=10, scale=5.0),
        ],
        ids=["smallest", "many and quiet", "many items and busy"],
    )
    def test_other_sizes_work(self, tmp_path: Path, options: SampleOptions) -> None:
        assert write(tmp_path, options)[2].stock_events > 0

    def test_progress_is_told_day_by_day(self, tmp_path: Path) -> None:
        told: list[tuple[str, int, int]] = []
        write_sample_network(
            tmp_path / "landing", tmp_path / "truth", TINY, lambda *step: told.append(step)
        )
        assert [done for _, done, _ in told] == [1, 2, 3, 4, 5, 6, 7]
        assert {of for _, _, of in told} == {7}


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
