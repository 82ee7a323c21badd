"""Rewrite a landing file of any format without a person."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import IO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from loaders.erasing.cleaner import Cleaner
from loaders.erasing.search import contains
from loaders.landing import LandingFile
from loaders.readers import LINE_FORMATS, decompressed, is_dynamodb
from loaders.readers.csv_files import csv_rows
from loaders.readers.json_arrays import elements
from loaders.readers.streams import skip_byte_order_mark


def rewrite_landing_file(file: LandingFile, clean: Cleaner, aside: Path, target: Path) -> bool:
    """Write the file without the person to `target`; tell whether there was anything to remove."""
    if file.file_format == ".parquet":
        return _rewrite_parquet(file.path, clean, target)
    plain = decompressed(file, aside / "plain")
    try:
        if not contains(plain, clean.person.needles()):
            return False
        if file.file_format in LINE_FORMATS or is_dynamodb(file):
            write = _write_lines
        elif file.file_format == ".json":
            write = _write_array
        else:
            write = _write_csv
        with plain.open("rb") as source, _compressed(target, file.compression) as sink:
            return write(source, sink, clean)
    finally:
        (aside / "plain").unlink(missing_ok=True)


def _compressed(path: Path, compression: str | None) -> IO[bytes]:
    if compression == ".gz":
        return cast(IO[bytes], gzip.GzipFile(path, "wb", mtime=0))
    if compression == ".zst":
        return cast(IO[bytes], pa.CompressedOutputStream(pa.OSFile(str(path), "wb"), "zstd"))
    return path.open("wb")


def _clean_bytes(data: bytes, clean: Cleaner) -> bytes | None:
    text = data.decode(errors="surrogateescape")
    if not clean.mentions(text):
        return data
    cleaned = clean(text)
    if cleaned == text:
        return data
    return None if cleaned is None else cleaned.encode(errors="surrogateescape")


def _write_lines(source: IO[bytes], sink: IO[bytes], clean: Cleaner) -> bool:
    """Write the lines; one that goes leaves a blank line, so that the others keep their numbers."""
    is_changed = False
    for line in source:
        body = line.rstrip(b"\r\n")
        cleaned = _clean_bytes(body, clean)
        is_changed |= cleaned != body
        sink.write((cleaned or b"") + line[len(body) :])
    return is_changed


def _write_array(source: IO[bytes], sink: IO[bytes], clean: Cleaner) -> bool:
    is_changed, separator = False, b"[\n"
    skip_byte_order_mark(source)
    for element in filter(bytes.strip, elements(source)):
        cleaned = _clean_bytes(element.strip(), clean)
        is_changed |= cleaned != element.strip()
        if cleaned is not None:
            sink.write(separator + cleaned)
            separator = b",\n"
    sink.write(b"\n]\n" if separator == b",\n" else b"[]\n")
    return is_changed


def _write_csv(source: IO[bytes], sink: IO[bytes], clean: Cleaner) -> bool:
    is_changed, names = False, None
    skip_byte_order_mark(source)
    for _, row in csv_rows(source):
        if isinstance(row, bytes):
            cleaned = _clean_bytes(row, clean)
            is_changed |= cleaned != row
            sink.write(cleaned or b"\n")
            continue
        kept: list[str] | None = row
        if names is None:
            names = [name.strip() for name in row]
        elif len(row) == len(names):
            kept = _clean_row(names, row, clean)
        elif clean(json.dumps(row, ensure_ascii=False)) is None:
            kept = None
        is_changed |= kept != row
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(kept or [])
        sink.write(line.getvalue().encode(errors="surrogateescape"))
    return is_changed


def _clean_row(names: list[str], row: list[str], clean: Cleaner) -> list[str] | None:
    text = json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False)
    cleaned = clean(text)
    if cleaned is None:
        return None
    left = json.loads(cleaned)
    return [left.get(name, "") for name in names]


def _rewrite_parquet(path: Path, clean: Cleaner, target: Path) -> bool:
    is_changed = False
    with pq.ParquetFile(path) as source, pq.ParquetWriter(target, source.schema_arrow) as sink:
        for batch in source.iter_batches():
            cleaned = _clean_batch(batch, clean)
            is_changed |= cleaned is not batch
            sink.write_batch(cleaned)
    return is_changed


def _clean_batch(batch: pa.RecordBatch, clean: Cleaner) -> pa.RecordBatch:
    rows, is_changed = [], False
    for row in batch.to_pylist():
        text = json.dumps(row, ensure_ascii=False, default=str)
        cleaned = clean(text) if clean.mentions(text) else text
        is_changed |= cleaned != text
        if cleaned is not None:
            left = json.loads(cleaned)
            rows.append({name: value if name in left else None for name, value in row.items()})
    return pa.RecordBatch.from_pylist(rows, batch.schema) if is_changed else batch
