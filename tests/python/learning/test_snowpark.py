"""The same dbt Python models through a real Snowpark session, on an emulated Snowflake."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
import pandas as pd
import pytest
from score_warehouse import MODELS, build, put

# what the emulator does inside is none of ours
pytestmark = [
    pytest.mark.filterwarnings("ignore:Arrow output on a DB-API:UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture
def emulated() -> Iterator[tuple[duckdb.DuckDBPyConnection, Any]]:
    """Start the emulator behind HTTP; return its database, and a session of Snowpark's on it."""
    from fakesnow import server
    from fakesnow.server import shared_fs
    from snowflake.snowpark import Session

    with server() as address:
        where = {"database": "ANALYTICS", "schema": "MARTS"}
        session = Session.builder.configs(address | where).create()
        connection = shared_fs.duck_conn.cursor()
        connection.execute("create schema if not exists ANALYTICS.MARTS")
        connection.execute("use ANALYTICS.MARTS")
        try:
            yield connection, session
        finally:
            # the session's own close cancels queries, which the emulator does not know
            session.connection.close()


def test_both_engines_train_the_same_model_and_score_alike(
    emulated: tuple[duckdb.DuckDBPyConnection, Any],
    tmp_path: Path,
    scores: Callable[[str], ModuleType],
    grown: Any,
) -> None:
    connection, session = emulated
    put(connection, grown)
    with duckdb.connect(str(tmp_path / "build.duckdb")) as local:
        put(local, grown.shuffled(3))
        for name in MODELS:
            here, there = build(local, scores, name), build(connection, scores, name, session)
            there.columns = pd.Index([column.lower() for column in there.columns])
            assert len(here) > 0
            pd.testing.assert_frame_equal(here, there, check_exact=True)
        models = local.table("ml_models").df()
        assert models["model_name"].str.endswith("_boosted").sum() == 2
        for name in MODELS:
            assert len(build(connection, scores, name, session)) == len(local.table(name).df())
