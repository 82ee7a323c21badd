from __future__ import annotations

import csv
import gzip
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from landing_zone import Home, event, line, make_home

from loaders.readers import line_feeds

STOCK = "fridge/stock_events"
ITEM = {
    "item_id": "i1",
    "item_name": "Soup",
    "category": "hot",
    "tags": '["vegan","new"]',
    "price_usd": "5.50",
    "unit_cost_usd": "2",
    "shelf_life_days": "3",
    "updated_at": "2024-01-01",
}
HEADER = ",".join(ITEM).encode()
ROW = b'%s,Soup,hot,"[""vegan""]",5.5,2,3,2024-01-01\n'
PLAIN_ROW = b"%s,Soup,hot,,5.5,2,3,2024-01-01\n"


def numbers(home: Home) -> list[tuple[int, str | None]]:
    """Return line number and key of every record, good or bad."""
    return [
        (number, key)
        for number, key in home.query(
            "select line_number, natural_key from records where payload is not null "
            "order by line_number"
        )
    ]


LINE_FILES = {
    "CR LF": b"".join(line(event(n)).replace(b"\n", b"\r\n") for n in (1, 2)),
    "no final line end": (line(event(1)) + line(event(2))).strip(),
    "byte order mark": b"\xef\xbb\xbf" + line(event(1)) + line(event(2)),
    "indented": b"  \t" + line(event(1)) + b"\t" + line(event(2)),
    "blank at the end": line(event(1)) + line(event(2)).replace(b"\n", b"  \t\n"),
    "CR alone is a blank": line(event(1)).replace(b"\n", b"\r\r\n") + b"\r" + line(event(2)),
    "delimiters": line(event(1, basket_id="a\x01b")) + line(event(2, basket_id='"')),
    "line separators inside": line(event(1, basket_id="\u2028\x85")) + line(event(2)),
}


@pytest.mark.parametrize("content", LINE_FILES.values(), ids=LINE_FILES)
def test_only_a_line_feed_ends_a_line(home: Home, content: bytes) -> None:
    home.land(f"{STOCK}/a.ndjson", content)
    home.load()
    assert numbers(home) == [(1, "e1"), (2, "e2")]


def test_blank_lines_count_as_lines_but_not_as_records(home: Home) -> None:
    blank = b"\n\r\n   \n\t\n"
    home.land(f"{STOCK}/a.ndjson", blank + line(event(1)) + blank + b"x\n" + line(event(2)))
    summary = home.load().entities[STOCK]
    assert numbers(home) == [(5, "e1"), (10, None), (11, "e2")]
    assert (summary.records, summary.rejected) == (3, 1)


def test_a_cut_off_last_line_is_told_from_a_broken_one(home: Home) -> None:
    home.land(f"{STOCK}/a.ndjson", b"{\n" + line(event(1)) + b'{"event_id": "e2", "occ')
    home.load()
    assert home.rejections() == [(1, "broken_json"), (3, "truncated_line")]


@pytest.mark.parametrize("size", [1_048_576, 1_048_577])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_the_limit_of_a_line_is_exact(home: Home, size: int, end: bytes) -> None:
    long = line(event(2, note="")).strip()
    long = long.replace(b'"note": ""', b'"note": "' + b"x" * (size - len(long)) + b'"')
    assert len(long) == size
    home.land(f"{STOCK}/a.ndjson", line(event(1)) + long + end)
    home.load()
    expected = [] if size == 1_048_576 else [(2, "line_too_long")]
    assert home.rejections() == expected
    assert home.keys() == (["e1"] if expected else ["e1", "e2"])


def test_one_endless_line_is_one_dead_letter(home: Home) -> None:
    home.land(f"{STOCK}/a.ndjson", b"x" * 30_000_000 + b"\n" + line(event(1)))
    home.load()
    assert home.rejections() == [(1, "line_too_long")]
    assert home.keys() == ["e1"]
    assert home.query("select max(length(payload)) < 100_000 from records") == [(True,)]


@pytest.mark.parametrize("compression", ["", ".gz", ".zst"])
def test_lines_on_the_borders_of_the_pieces_are_whole(
    home: Home, monkeypatch: pytest.MonkeyPatch, compression: str
) -> None:
    monkeypatch.setattr(line_feeds, "SPLIT_BYTES", 256)
    content = b"".join(
        line(event(n, note="x" * (n * 7 % 300))) + (b"\xff\n" if n % 50 == 0 else b"")
        for n in range(1, 500)
    )
    if compression == ".gz":
        content = gzip.compress(content)
    elif compression:
        content = pa.compress(content, "zstd", asbytes=True)
    home.land(f"{STOCK}/a.ndjson{compression}", content)
    home.load()
    assert len(home.keys()) == 499
    assert home.rejections() == [(n * 50 + n, "invalid_utf8") for n in range(1, 10)]
    assert {key: number for number, key in numbers(home) if key}["e499"] == 508


ARRAYS: dict[str, tuple[bytes, list[str], list[str]]] = {
    "pretty": (json.dumps([event(1), event(2)], indent=2).encode(), ["e1", "e2"], []),
    "byte order mark": (b"\xef\xbb\xbf" + json.dumps([event(1)]).encode(), ["e1"], []),
    "empty": (b"[]", [], []),
    "one object": (json.dumps(event(1), indent=2).encode(), ["e1"], []),
    "lines": (line(event(1)) + line(event(2)), ["e1", "e2"], []),
    "two arrays": (json.dumps([event(1)]).encode() * 2, ["e1", "e1"], []),
    "nested arrays": (b"[[1, 2], " + line(event(1)) + b"]", ["e1"], ["not_an_object"]),
    "scalars": (b'[1, "a", null, ' + line(event(1)) + b"]", ["e1"], ["not_an_object"] * 3),
    "broken element": (
        b"[" + line(event(1)) + b', {"event_id": x}, ' + line(event(2)) + b"]",
        ["e1", "e2"],
        ["broken_json"],
    ),
    "cut off": (b"[" + line(event(1)) + b', {"event_id": "e2', ["e1"], ["broken_json"]),
    "no end": (b"[" + line(event(1)) + b"," + line(event(2)), ["e1", "e2"], []),
    "garbage behind": (json.dumps([event(1)]).encode() + b" end", ["e1"], ["broken_json"]),
    "comma at the end": (b"[" + line(event(1)) + b",]", ["e1"], []),
    "bad UTF-8": (b"[" + line(event(1)) + b', {"a": "\xff"}]', ["e1"], ["invalid_utf8"]),
    "NUL": (b"[" + line(event(1)) + b', {"a": "\0"}]', ["e1"], ["nul_byte"]),
    "unterminated string on a line": (
        b'[{"event_id": "e0},\n' + line(event(1)) + b"," + line(event(2)) + b"]",
        ["e1", "e2"],
        ["broken_json"],
    ),
    "unterminated string": (
        b'[{"event_id": "e0},' + b",".join(line(event(n)).strip() for n in (1, 2, 3)) + b"]",
        ["e1", "e2", "e3"],
        ["broken_json"],
    ),
    "deep": (
        b"[" + b"[" * 10_000 + b"]" * 10_000 + b"," + line(event(1)) + b"]",
        ["e1"],
        ["nested_too_deeply"],
    ),
    "brackets in strings": (json.dumps([event(1, note='}],[{"\\')]).encode(), ["e1"], []),
}


@pytest.mark.parametrize(("content", "keys", "reasons"), ARRAYS.values(), ids=ARRAYS)
def test_arrays_keep_their_good_elements(
    home: Home, content: bytes, keys: list[str], reasons: list[str]
) -> None:
    home.land(f"{STOCK}/a.json", content)
    home.load()
    assert home.keys() == keys
    assert [reason for _, reason in home.rejections()] == reasons


CSV_FILES: dict[str, tuple[bytes, list[tuple[int, str | None]], list[tuple[int, str]]]] = {
    "plain": (PLAIN_ROW % b"a" + PLAIN_ROW % b"b", [(2, "a"), (3, "b")], []),
    "quoted": (ROW % b"a" + ROW % b"b", [(2, "a"), (3, "b")], []),
    "no final line end": (PLAIN_ROW.strip() % b"a", [(2, "a")], []),
    "header only": (b"", [], []),
    "blank lines": (
        b"\n" + PLAIN_ROW % b"a" + b"\n  \n" + PLAIN_ROW % b"b",
        [(3, "a"), (6, "b")],
        [],
    ),
    "several lines in a field": (
        b'a,"So\nup",hot,,5.5,2,3,2024-01-01\n' + b"b,too few\n" + PLAIN_ROW % b"c",
        [(2, "a"), (4, None), (5, "c")],
        [(4, "wrong_field_count")],
    ),
    "too few": (
        PLAIN_ROW % b"a" + b"b,x\n" + PLAIN_ROW % b"c",
        [(2, "a"), (3, None), (4, "c")],
        [(3, "wrong_field_count")],
    ),
    "too many": (
        PLAIN_ROW % b"a" + b"b,Soup,hot,,5.5,2,3,2024-01-01,\n",
        [(2, "a"), (3, None)],
        [(3, "wrong_field_count")],
    ),
    "quote within a field": (b'a,5" soup,hot,,5.5,2,3,2024-01-01\n', [(2, "a")], []),
    "lone quote": (
        b'a,"Soup,hot,,5.5,2,3,2024-01-01\n' + PLAIN_ROW % b"b" + ROW % b"c",
        [(2, None), (3, "b"), (4, "c")],
        [(2, "broken_csv")],
    ),
    "NUL": (
        PLAIN_ROW % b"a\0b" + PLAIN_ROW % b"c",
        [(2, None), (3, "c")],
        [(2, "nul_byte")],
    ),
    "bad UTF-8": (
        PLAIN_ROW % b"a\xff" + PLAIN_ROW % b"c",
        [(2, None), (3, "c")],
        [(2, "invalid_utf8")],
    ),
    "unknown column": (PLAIN_ROW % b"a", [(2, "a")], []),
    "too long": (
        PLAIN_ROW % (b"a" * 1_100_000) + PLAIN_ROW % b"c",
        [(2, None), (3, "c")],
        [(2, "line_too_long")],
    ),
}


@pytest.mark.parametrize(
    ("mark", "line_end"), [(b"", b"\n"), (b"\xef\xbb\xbf", b"\r\n")], ids=["", "mark, CR LF"]
)
@pytest.mark.parametrize(("rows", "expected", "rejected"), CSV_FILES.values(), ids=CSV_FILES)
def test_csv_keeps_its_good_rows_and_their_lines(
    home: Home,
    rows: bytes,
    expected: list[tuple[int, str | None]],
    rejected: list[tuple[int, str]],
    mark: bytes,
    line_end: bytes,
) -> None:
    content = (HEADER + b"\n" + rows).replace(b"\n", line_end)
    home.land("catalog/items/a.csv", mark + content)
    home.load()
    assert numbers(home) == expected
    assert home.rejections() == rejected


@pytest.mark.parametrize("header", [b"a,,b", b"a,A", b"a,\xff", b'"a'])
def test_a_header_must_name_every_column_once(home: Home, header: bytes) -> None:
    home.land("catalog/items/a.csv", header + b"\n1,2,3\n")
    home.load()
    assert home.rejections() == [(1, "bad_header")]


def compressed_parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"event_id": ["x"] * 1000}), sink)
    return sink.getvalue()


FILES = {
    "a.ndjson": (b"", "empty_file"),
    "b.ndjson": (b"\xef\xbb\xbf", "empty_file"),
    "c.json": (b"", "empty_file"),
    "d.csv": (b"", "empty_file"),
    "e.parquet": (b"", "empty_file"),
    "f.ndjson.gz": (gzip.compress(b""), "empty_file"),
    "g.ndjson.gz": (gzip.compress(line(event()))[:-4], "corrupt_file"),
    "h.ndjson.gz": (b"not gzip", "corrupt_file"),
    "i.csv.gz": (gzip.compress(line(event())) + b"tail", "corrupt_file"),
    "j.ndjson.zst": (pa.compress(line(event()) * 99, "zstd", asbytes=True)[:-4], "corrupt_file"),
    "k.json.zst": (b"not zstd", "corrupt_file"),
    "l.parquet": (b"PAR1xxxxPAR1", "corrupt_file"),
    "m.parquet": (compressed_parquet()[:-8], "corrupt_file"),
    "n.txt": (b"text", "unsupported_format"),
    "o.parquet.gz": (b"text", "unsupported_format"),
}


def test_files_that_cannot_be_read_are_dead_letters_and_stop_nothing(home: Home) -> None:
    for name, (content, _) in FILES.items():
        home.land(f"{STOCK}/{name}", content)
    home.land("nobody/knows/a.ndjson", line(event()))
    home.land("stray.ndjson", line(event()))
    home.land(f"{STOCK}/z.ndjson", line(event()))
    summary = home.load()
    assert [reason for _, reason in home.rejections(STOCK)] == [one for _, one in FILES.values()]
    assert [reason for _, reason in home.rejections("unknown/files")] == ["unknown_entity"] * 2
    assert home.keys() == ["e1"]
    assert summary.files == len(FILES) + 3


def test_names_that_look_like_patterns_or_partitions_are_just_names(home: Home) -> None:
    for number, name in enumerate(["a[1]*?.csv", "region=north/b.csv", "it's.csv"]):
        home.land(f"catalog/items/{name}", HEADER + b"\n" + PLAIN_ROW % b"i%d" % number)
    home.load()
    assert home.keys() == ["i0", "i1", "i2"]
    assert home.query("select count(*) from records where payload like '%north%'") == [(0,)]


def in_every_format(records: list[dict[str, Any]]) -> dict[str, bytes]:
    table, text = io.BytesIO(), io.StringIO()
    pq.write_table(pa.Table.from_pylist(records), table)
    writer = csv.DictWriter(text, list(records[0]))
    writer.writeheader()
    for record in records:
        writer.writerow({k: json.dumps(v) if isinstance(v, list) else v for k, v in record.items()})
    return {
        "a.ndjson": b"".join(map(line, records)),
        "b.json": json.dumps(records, indent=3).encode(),
        "c.csv": text.getvalue().encode(),
        "d.parquet": table.getvalue(),
    }


def test_a_record_has_one_content_in_every_format(home: Home) -> None:
    events = [
        event(1, quantity=2.0, is_promoted=True, expires_on="2024-06-01", customer_id="C1"),
        event(2, quantity=3.25, is_promoted=False, expires_on=None, customer_id="Ü-ß"),
    ]
    events[1].setdefault("expires_on", None)
    soup = ITEM | {"tags": ["vegan", "new"], "price_usd": 5.5}
    items = [soup, soup | {"item_id": "i2", "tags": []}]
    for entity, records in ((STOCK, events), ("catalog/items", items)):
        for name, content in in_every_format(records).items():
            home.land(f"{entity}/{name}", content)
    home.load()
    assert home.rejections() == []
    assert home.query(
        "select natural_key, count(distinct content_hash), count(*) from records "
        "group by all order by all"
    ) == [("e1", 1, 4), ("e2", 1, 4), ("i1", 1, 4), ("i2", 1, 4)]


def test_parquet_types_are_read_as_what_they_mean(home: Home) -> None:
    instant = datetime(2024, 5, 30, 10, tzinfo=UTC)
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([event(1, occurred_at=instant)]), sink)
    home.land(f"{STOCK}/a.parquet", sink.getvalue())
    home.land(f"{STOCK}/b.ndjson", line(event(1)))
    home.load()
    assert home.query("select count(distinct content_hash), count(*) from records") == [(1, 2)]


GOOD = line(event()).strip()
ANY_LINE = st.one_of(
    st.binary(max_size=40).map(lambda data: data.replace(b"\n", b"")),
    st.sampled_from([b"", b" ", b"\r", b"{}", GOOD, b" " + GOOD, b'{"a":"', b"\xef\xbb\xbf"]),
)
ANY_FILE = st.tuples(st.lists(ANY_LINE, max_size=20), st.sampled_from([b"", b"\n"])).map(
    lambda parts: b"\n".join(parts[0]) + parts[1]
)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(files=st.lists(ANY_FILE, min_size=5, max_size=12))
def test_every_line_of_any_bytes_is_a_record_a_dead_letter_or_blank(files: list[bytes]) -> None:
    with TemporaryDirectory() as folder:
        home = make_home(Path(folder))
        for number, content in enumerate(files):
            home.land(f"{STOCK}/{number}.ndjson", content)
        home.load()
        rows = home.query(
            "select source_file, line_number, payload is null, rejection_reason, natural_key "
            "from records order by line_number"
        )
    for number, content in enumerate(files):
        found = [row[1:] for row in rows if row[0] == f"{STOCK}/{number}.ndjson"]
        assert_all_accounted_for(content, found)


def assert_all_accounted_for(content: bytes, found: list[tuple[Any, ...]]) -> None:
    plain = content.removeprefix(b"\xef\xbb\xbf")
    if not plain:
        assert [reason for _, _, reason, _ in found] == ["empty_file"]
        return
    expected = plain.removesuffix(b"\n").split(b"\n")
    assert [number for number, _, _, _ in found] == list(range(1, len(expected) + 1))
    for text, (_, is_blank, reason, key) in zip(expected, found, strict=True):
        is_good = text.strip(b" \t\r") == GOOD
        assert is_blank == (not text.strip(b" \t\r"))
        assert (key == "e1") == is_good
        assert (reason is None) == (is_blank or is_good)
