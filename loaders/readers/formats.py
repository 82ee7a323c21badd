"""Choose how a file of each format is read: fast, by the engine, or carefully, record by record."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from larder.warehouse import literal
from loaders.limits import MAX_LINE_BYTES
from loaders.readers.csv_files import csv_header, is_plain_csv, split_csv
from loaders.readers.json_arrays import split_array
from loaders.readers.lines import Lines, in_batches
from loaders.readers.parquet_rows import split_parquet

LINE_FORMATS = (".ndjson", ".jsonl")
# More of them cost the engine more memory than all the rest of a load.
MOST_COLUMNS = 1_000
NO_PROBLEM = "null::varchar as problem, false as is_cut_off"


def careful_lines(path: Path, file_format: str) -> Lines:
    """Return the lines of a plain file that the fast way refused; bad records are marked.

    Raises:
        UnreadableFileError: nothing can be read from the file.
    """
    match file_format:
        case ".json":
            lines = split_array(path)
        case ".csv":
            lines = split_csv(path, csv_header(path))
        case ".parquet":
            lines = split_parquet(path)
        case _:
            raise AssertionError(file_format)
    return Lines(in_batches(lines))


def fast_lines(path: Path, file_format: str) -> str | None:
    """Return the relation in SQL that reads a whole plain file with the engine's own reader.

    Null for a file that the engine does not read as the contract says.

    Raises:
        UnreadableFileError: nothing can be read from the file.
    """
    name = literal(str(path))
    row = f"row_{uuid4().hex}"  # a column of the name would be taken for the row
    match file_format:
        case ".json":
            return (
                f"(select row_number() over () as line_number, json::varchar as line, {NO_PROBLEM} "
                f"from read_json_objects({name}, format = 'array', hive_partitioning = false, "
                f"compression = 'none', maximum_object_size = {2 * MAX_LINE_BYTES}))"
            )
        case ".csv":
            header = csv_header(path)
            if len(header) > MOST_COLUMNS or not is_plain_csv(path, len(header)):
                return None
            columns = ", ".join(f"{literal(column)}: 'VARCHAR'" for column in header)
            return (
                f"(select row_number() over () + 1 as line_number, to_json({row})::varchar "
                f"as line, {NO_PROBLEM} from read_csv({name}, columns = {{{columns}}}, "
                "header = true, auto_detect = false, delim = ',', quote = '\"', escape = '\"', "
                "nullstr = '', hive_partitioning = false, compression = 'none', "
                f"max_line_size = {MAX_LINE_BYTES}) as {row})"
            )
        case ".parquet":
            number = "row_number() over ()" if _has_row_numbers(path) else "file_row_number + 1"
            return (
                f"(select {number} as line_number, to_json({row})::varchar as line, "
                f"{NO_PROBLEM} from read_parquet({name}, hive_partitioning = false) as {row})"
            )
        case _:
            raise AssertionError(file_format)


def _has_row_numbers(path: Path) -> bool:
    """Tell whether a column has the name by which the engine numbers the rows of Parquet."""
    with suppress(pa.ArrowException, OSError):  # the engine says what is wrong with it
        return "file_row_number" in (name.lower() for name in pq.read_schema(path).names)
    return False


def is_refusal(error: duckdb.Error) -> bool:
    """Tell whether the engine refused the file's content (and not the disk or our own SQL).

    It lacks memory for rows that are too wide or too long, however small the file is.
    """
    refusals = (
        duckdb.InvalidInputException,
        duckdb.ConversionException,
        duckdb.OutOfRangeException,
        duckdb.NotImplementedException,
        duckdb.OutOfMemoryException,
    )
    if isinstance(error, refusals):
        return True
    text = str(error)
    return isinstance(error, duckdb.IOException) and "No space left" not in text
