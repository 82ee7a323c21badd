"""Read the rows of Parquet a few at a time, where the engine cannot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from loaders.limits import MAX_LINE_BYTES
from loaders.readers.lines import Line, line_of, too_long
from loaders.readers.streams import UnreadableFileError

# A value may be as long as memory allows, in every row, in a file of a few bytes.
BATCH_ROWS = 16
# Numbers take more bytes in memory than in JSON, but never so many.
LONGEST_ROW = 16 * MAX_LINE_BYTES


def split_parquet(path: Path) -> Iterator[Line]:
    """Return the rows as lines, numbered from 1.

    Raises:
        UnreadableFileError: the data is damaged or cut off.
    """
    try:
        with pq.ParquetFile(path) as file:
            rows = (
                batch.slice(row, 1)
                for batch in file.iter_batches(BATCH_ROWS)
                for row in range(batch.num_rows)
            )
            for number, row in enumerate(rows, start=1):
                yield _line_of_row(number, row)
    except (pa.ArrowException, OSError):
        raise UnreadableFileError(
            "corrupt_file", "the Parquet data is damaged or cut off"
        ) from None


def _line_of_row(number: int, row: pa.RecordBatch) -> Line:
    # else a value that many rows share would count for each
    columns = [
        column.dictionary_decode() if isinstance(column, pa.DictionaryArray) else column
        for column in row.columns
    ]
    if sum(column.nbytes for column in columns) > LONGEST_ROW:
        return too_long(number, b"")
    try:
        values = [column[0].as_py() for column in columns]
    except UnicodeDecodeError:
        return number, "", "invalid_utf8|a text of the record is not UTF-8"
    record = dict(zip(row.schema.names, values, strict=True))
    text = json.dumps(record, ensure_ascii=False, default=_text)
    return line_of(number, text.encode(errors="surrogateescape"))


def _text(value: object) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
