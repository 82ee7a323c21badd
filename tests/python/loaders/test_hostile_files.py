"""Files that are made to stop a load, to take its memory or its time, or to hide their records."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from landing_zone import Home, event, line

from loaders.readers.csv_files import csv_rows
from loaders.readers.json_arrays import elements

STOCK = "fridge/stock_events"
RECORD = event(1)


def land_parquet(home: Home, columns: dict[str, Any]) -> None:
    pq.write_table(pa.table(columns), home.land(f"{STOCK}/a.parquet", b""))


def as_csv(columns: list[str], values: list[str]) -> bytes:
    fields = [*RECORD, *columns], [*map(str, RECORD.values()), *values]
    return b"".join(",".join(one).encode() + b"\n" for one in fields)


# what the SQL of a reader calls something
@pytest.mark.parametrize(
    "name", ["records", "file_row_number", "FILE_ROW_NUMBER", "line", "line_number", "problem"]
)
@pytest.mark.parametrize("file_format", ["csv", "parquet"])
def test_no_name_of_a_column_hides_the_record(home: Home, name: str, file_format: str) -> None:
    if file_format == "csv":
        home.land(f"{STOCK}/a.csv", as_csv([name], ["other"]))
    else:
        land_parquet(home, {key: [value] for key, value in RECORD.items()} | {name: ["other"]})
    home.load()
    ((key, payload),) = home.query("select natural_key, payload from records")
    assert key == "e1"
    assert f'"{name}":"other"' in payload.replace(": ", ":")


# Minutes or hours each, if what was read once is read again and again.
ENDLESS_ARRAYS = {
    "escaped quotes": b'[{"a": "' + b'\\"' * 400_000 + b"}]",
    "nested": b'[{"a":[' * 300_000,
    "objects in a string": b'[[{"a": "' + b"},{" * 100_000,
    "objects that do not end": b"{},{[" * 60_000,
    "and some that do": b"{},{},{[" * 50_000,
}
ENDLESS_ROWS = {
    "fields that open again": b'a",b,"c\n' * 100_000,
    "and one that closes wrongly": b'a",b,"c\n' * 10_000 + b'x"y' * 200_000,
    "quotes alone": b'"\n' * 300_001,
    "one quote": b'"a\n' + b"b\n" * 600_000,
}


@pytest.mark.parametrize("content", ENDLESS_ARRAYS.values(), ids=ENDLESS_ARRAYS)
def test_an_array_that_does_not_end_is_read_in_one_go(home: Home, content: bytes) -> None:
    assert sum(map(len, elements(BytesIO(content)))) > len(content) / 2
    home.land(f"{STOCK}/a.json", content)
    home.land(f"{STOCK}/b.ndjson", line(event(2)))
    home.load()
    assert home.keys() == ["e2"]


@pytest.mark.parametrize("content", ENDLESS_ROWS.values(), ids=ENDLESS_ROWS)
def test_a_quote_that_does_not_end_is_read_in_one_go(content: bytes) -> None:
    rows = list(csv_rows(BytesIO(content)))
    assert len(rows) > 1_000
    assert [number for number, _ in rows] == sorted(number for number, _ in rows)


def test_a_broken_object_takes_none_of_those_after_it_with_it(home: Home) -> None:
    good = [line(event(number, tags=[{"a": 1}, {"b": [2]}])).strip() for number in (1, 2, 3, 4)]
    broken = b'{"event_id": "e9", "tags": [{"a": [}'
    home.land(
        f"{STOCK}/a.json", b"[" + b",".join([good[0], broken, good[1], broken, *good[2:]]) + b"]"
    )
    home.load()
    assert home.keys() == ["e1", "e2", "e3", "e4"]
    assert len(home.rejections()) >= 2


def test_a_text_of_parquet_that_is_not_utf_8_takes_its_own_record_only(home: Home) -> None:
    reasons = pa.array([b"damaged", b"\xff", None]).view(pa.string())
    land_parquet(
        home,
        {key: [value] * 3 for key, value in RECORD.items() if key != "event_id"}
        | {"event_id": ["e1", "e2", "e3"], "reason": reasons},
    )
    home.load()
    assert home.keys() == ["e1", "e3"]
    assert home.rejections() == [(2, "invalid_utf8")]


def test_many_columns_and_long_values_are_read_within_the_memory(home: Home) -> None:
    names = [f"c{number}" for number in range(5_000)]
    home.land(f"{STOCK}/wide.csv", as_csv(names, ["1"] * len(names)))
    columns = {key: [value] * 300 for key, value in event(2).items()}
    wide = columns | {name: ["abcdefgh"] * 300 for name in names}
    pq.write_table(pa.table(wide), home.land(f"{STOCK}/wide.parquet", b""))
    # a megabyte in the landing zone, two gigabytes when it is read
    indices = pa.array([0] * 99 + [1], pa.int32())
    note = pa.DictionaryArray.from_arrays(indices, pa.array(["x" * 20_000_000, "short"]))
    long = {key: values[:100] for key, values in columns.items()} | {
        "event_id": [f"e{number}" for number in range(300, 400)],
        "note": note,
    }
    pq.write_table(pa.table(long), home.land(f"{STOCK}/long.parquet", b""))
    home.land(f"{STOCK}/good.ndjson", line(event(3)))

    home.load()

    assert sorted(set(home.keys())) == ["e1", "e2", "e3", "e399"]
    assert {reason for _, reason in home.rejections()} == {"line_too_long"}
    assert len(home.rejections()) == 99


def test_pipes_and_links_in_circles_are_left_alone(home: Home) -> None:
    folder = home.land(f"{STOCK}/good.ndjson", line(event())).parent
    os.mkfifo(folder / "pipe.ndjson")
    (folder / "itself.ndjson").symlink_to(folder / "itself.ndjson")
    (folder / "above").symlink_to(home.settings.landing_folder)

    home.load()

    assert home.keys() == ["e1"]


def test_the_name_of_a_file_need_not_be_utf8(home: Home) -> None:
    folder = home.land(f"{STOCK}/good.ndjson", line(event(1))).parent
    Path(os.fsdecode(os.fsencode(folder) + b"/b\xe4ckerei.ndjson")).write_bytes(line(event(2)))

    assert home.load().files == 2
    assert home.load().files == 0
    assert home.keys() == ["e1", "e2"]
