"""The files of the sample network: deterministic, conforming, and never mixed with a user's own."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from sample_networks import TINY, Sample, only, select_from, write

from loaders.entities import read_entities
from loaders.landing import find_files
from loaders.sample.network import MARKER_NAME, SampleError, SampleOptions, write_sample_network

BROKEN_EVENTS, BROKEN_ORDERS = 8, 2


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


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
        assert len(seen) == 13
        for entity, fields in seen.items():
            if read_entities()[entity].content_is_record:
                continue  # others define it; test_sample_trips.py reads its shapes
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
            "trips.parquet", "visits.parquet", "blemished_positions.parquet", "options.json",
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
            ("recent-days", SampleOptions(recent_days=-1)),
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
