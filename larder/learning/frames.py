"""Frames in and out of dbt Python models, the same way on DuckDB and Snowflake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Days = npt.NDArray[np.datetime64]
Texts = npt.NDArray[Any]

TEXT = pa.string()
NUMBER = pa.float64()
COUNT = pa.int64()
FLAG = pa.bool_()
DATE = pa.date32()
TIMESTAMP = pa.timestamp("us")

Schema = Mapping[str, pa.DataType]


def to_pandas(relation: Any) -> pd.DataFrame:
    """Read a DuckDB relation or a Snowpark frame whole, with lower-case column names."""
    if isinstance(relation, pd.DataFrame):
        frame = relation.copy(deep=False)
    elif hasattr(relation, "to_pandas"):
        frame = relation.to_pandas()
    else:
        # several times faster than `relation.df()`
        frame = relation.to_arrow_table().to_pandas(date_as_object=False)
    frame.columns = pd.Index([str(column).lower() for column in frame.columns])
    return frame


def for_engine(frame: pd.DataFrame, session: Any) -> pd.DataFrame:
    """Name the columns as the engine stores them: in upper case on Snowflake, else as they are."""
    if type(session).__module__.startswith("snowflake"):
        frame = frame.copy(deep=False)
        frame.columns = pd.Index([str(column).upper() for column in frame.columns])
    return frame


def table(columns: Mapping[str, Any], schema: Schema) -> pd.DataFrame:
    """Build a frame of exactly the schema's columns, in its order, with its Arrow types.

    Arrow types keep DATE a date and an empty table typed; plain pandas would hand the engine
    timestamps and, when there are no rows, columns of no type at all.
    """
    return pd.DataFrame(
        {
            name: pd.Series(pa.array(columns[name], type=kind, from_pandas=True)).astype(
                pd.ArrowDtype(kind)
            )
            if len(columns[name])
            else pd.Series([], dtype=pd.ArrowDtype(kind))
            for name, kind in schema.items()
        }
    )


def empty(schema: Schema) -> pd.DataFrame:
    """Build a frame without rows that still has the schema's types."""
    return table({name: [] for name in schema}, schema)


def numbers(frame: pd.DataFrame, column: str) -> Floats:
    """Read a column as float64, whatever numeric type the engine gave it; unknown is NaN."""
    return np.asarray(
        pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    )


def flags(frame: pd.DataFrame, column: str) -> Bools:
    """Read a column as bool; unknown is false."""
    return np.asarray(frame[column].eq(True).fillna(False).to_numpy(dtype=np.bool_))


def days(frame: pd.DataFrame, column: str) -> Days:
    """Read a column of dates as datetime64[D]; unknown is NaT."""
    # never through nanoseconds, which wrap around in the year 2262
    dates = pd.to_datetime(frame[column]).to_numpy(dtype="datetime64[s]")
    return np.asarray(dates, dtype="datetime64[D]")


def texts(frame: pd.DataFrame, column: str) -> Texts:
    """Read a column of ids as an object array of str."""
    return np.asarray(frame[column].astype(str).to_numpy(dtype=object))


def as_of_moment(now: pd.DataFrame, rows: int) -> Days:
    """Repeat the one as-of moment (UTC) of `int_clock__now` for each row; NaT when it is empty."""
    moment = pd.to_datetime(now["as_of_at"]).to_numpy(dtype="datetime64[us]")
    return np.full(rows, moment[0] if len(moment) else np.datetime64("NaT", "us"))


def is_known(
    pairs: pd.DataFrame, known: pd.DataFrame | None, versions: Sequence[str], days_between: int = 1
) -> bool:
    """Say whether every model version has rows for the newest as_of_date of all pairs.

    With more `days_between` a row so many days less one before it is new enough. Where it is so,
    or there are no pairs, a build need not read their history.
    """
    if pairs.empty:
        return True
    if known is None:
        return False
    oldest = days(pairs, "as_of_date").max() - np.timedelta64(days_between - 1, "D")
    return set(versions) <= set(known["model_version"][days(known, "as_of_date") >= oldest])


def without_known(
    scores: pd.DataFrame, known: pd.DataFrame | None, keys: Sequence[str]
) -> pd.DataFrame:
    """Leave out the rows whose keys are already in the table, so that no score is rewritten.

    Args:
        scores: new rows, keys of text or date type.
        known: the keys already there, or None on a first build.
        keys: column names shared by both.
    """
    if known is None or known.empty or scores.empty:
        return scores

    def as_index(frame: pd.DataFrame) -> pd.MultiIndex:
        # a date is compared as its ISO text: engines disagree on its pandas type
        return pd.MultiIndex.from_arrays(
            [
                pd.Index(np.datetime_as_string(days(frame, key)))
                if key.endswith("_date")
                else pd.Index(texts(frame, key))
                for key in keys
            ]
        )

    return scores.loc[~as_index(scores).isin(as_index(known))].reset_index(drop=True)
