"""The warehouse that tests run the dbt Python models on, without dbt."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import duckdb
import pandas as pd

# in the order in which each finds what it reads
MODELS = (
    "ml_models",
    "ml_waste_probabilities",
    "ml_order_quantities",
    "ml_evaluations",
    "ml_monitoring",
)
INPUTS = {
    "int_stock__score_days": "days",
    "int_stock__score_pairs": "pairs",
    "int_stock__units_held": "held",
    "int_orders__candidates": "candidates",
    "dim_items": "items",
    "int_clock__now": "now",
    "dim_region_dates": "calendar",
    "int_catalog__promoted_times": "promotions",
    "int_orders__item_trends": "trends",
}
COLUMN_TYPES = {
    "location_id": "varchar",
    "item_id": "varchar",
    "as_of_date": "date",
    "order_date": "date",
    "expires_on": "date",
    "as_of_at": "timestamp",
    "is_stocked_out": "boolean",
    "is_holiday": "boolean",
    "is_on_offer": "boolean",
    "price_usd": "decimal(12, 4)",
    "calendar_date": "date",
    "week_start": "date",
    "starts_at": "timestamp",
    "ends_at": "timestamp",
    "units": "bigint",
}


class Configuration(dict[str, str]):
    """Stand in for what dbt knows of a model's configuration."""

    def __call__(self, **_: Any) -> None:
        """Accept more of it."""

    def meta_get(self, key: str) -> str:
        """Return what the project's YAML says."""
        return self[key]


class Dbt:
    """Stand in for the object that dbt hands to a Python model."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, session: Any, name: str) -> None:
        self.session = session
        self.this = name
        self.config = Configuration(retrain_days="28")
        tables = connection.execute("select lower(table_name) from duckdb_tables()").fetchall()
        self.is_incremental = (name,) in tables

    def ref(self, name: str) -> Any:
        """Return a table as the session's engine does."""
        return self.session.table(name)


def put(connection: duckdb.DuckDBPyConnection, network: Any, rows: str = "true") -> None:
    """Write what the models read, with the types that they have in a warehouse."""
    for table, name in INPUTS.items():
        frame = getattr(network, name)
        columns = ", ".join(
            f"cast({column} as {COLUMN_TYPES[column]}) as {column}"
            if column in COLUMN_TYPES
            else column
            for column in frame.columns
        )
        connection.register("rows_of_it", frame)
        connection.execute(
            f"create or replace table {table} as select {columns} from rows_of_it where {rows}"
        )


def build(
    connection: duckdb.DuckDBPyConnection,
    scores: Callable[[str], ModuleType],
    name: str,
    session: Any = None,
) -> pd.DataFrame:
    """Run a model and append what it returns; the session is DuckDB's own without another one."""
    session = session or connection
    if name != "ml_models" and not Dbt(connection, session, "ml_models").is_incremental:
        build(connection, scores, "ml_models", session)
    dbt = Dbt(connection, session, name)
    connection.register("result", scores(name).model(dbt, session))
    verb = f"insert into {name}" if dbt.is_incremental else f"create table {name} as"
    connection.execute(f"{verb} select * from result")
    frame: pd.DataFrame = connection.table(name).df()
    return frame
