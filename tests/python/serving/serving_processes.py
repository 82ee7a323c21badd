"""Builds to publish, and what the tests of this folder run in other processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import duckdb

from larder import warehouse
from larder.serving.publish import publish
from larder.settings import Settings

NOW = datetime(2019, 4, 30, 22, tzinfo=UTC)


def settings_for(home: Path, **values: Any) -> Settings:
    return Settings(home=home, landing=None, key_file=home / "key", as_of=None, **values)


def build_marts(settings: Settings, version: int, rows: int) -> None:
    """Replace the build: every table and view holds `rows` rows that all carry `version`."""
    settings.home.mkdir(parents=True, exist_ok=True)
    settings.build_database.unlink(missing_ok=True)
    with duckdb.connect(str(settings.build_database)) as connection:
        connection.execute("create schema marts; create schema intermediate")
        connection.execute(
            "create table intermediate.int_numbers as "
            f"select {version} as version, range as number from range({rows})"
        )
        connection.execute(
            "create table marts.fct_sales (sale_key bigint not null, version integer not null, "
            "sold_at timestamp, amount_usd decimal(9, 2), item_ids varchar[])"
        )
        connection.execute(
            "insert into marts.fct_sales select number, version, "
            "timestamp '2019-04-01' + number * interval 1 hour, number / 4, ['a', 'b'] "
            "from intermediate.int_numbers"
        )
        connection.execute("comment on table marts.fct_sales is 'One row per sale''s item'")
        connection.execute("comment on column marts.fct_sales.amount_usd is 'US dollars'")
        connection.execute(
            "create view marts.rpt_sales as select number, version from intermediate.int_numbers"
        )
        connection.execute(
            "create table marts.fct_waste as "
            "select number as waste_key, version from intermediate.int_numbers"
        )


@dataclass(frozen=True)
class Reading:
    """What one reader saw: how often, which versions, what went wrong."""

    reads: int
    versions: frozenset[int]
    faults: tuple[str, ...]


HALF_BUILT = """
select
    sales.versions,
    sales.row_count = waste.row_count and sales.row_count = report.row_count
        and sales.row_count = told.row_count and sales.versions = waste.versions
        and sales.versions = report.versions and len(sales.versions) = 1 as is_whole
from (select count(*) as row_count, list(distinct version) as versions from marts.fct_sales) as sales,
    (select count(*) as row_count, list(distinct version) as versions from marts.fct_waste) as waste,
    (select count(*) as row_count, list(distinct version) as versions from marts.rpt_sales) as report,
    (select max(row_count) as row_count from main.larder_generation) as told
"""  # noqa: E501


def read_whole(connection: duckdb.DuckDBPyConnection) -> int:
    """Return the version that every table agrees on; fail when they do not agree."""
    versions, is_whole = connection.execute(HALF_BUILT).fetchall()[0]
    assert is_whole, "a half-built generation"
    return int(versions[0])


def read_published(settings: Settings) -> int:
    """Read as a BI tool does: by the link, with plain DuckDB."""
    with duckdb.connect(str(settings.published_database), read_only=True) as connection:
        return read_whole(connection)


def read_until(stop: Event, started: Event, home: Path, results: Connection) -> None:
    """Connect, read, disconnect, over and over; by the link and through `open_published`."""
    settings = settings_for(home)
    reads, versions, faults = 0, set(), []
    while not stop.is_set():
        try:
            if reads % 2:
                with warehouse.open_published(settings) as connection:
                    versions.add(read_whole(connection))
            else:
                versions.add(read_published(settings))
        except Exception as error:
            faults.append(repr(error))
        reads += 1
        started.set()
    results.send(Reading(reads, frozenset(versions), tuple(faults)))


def publish_and_die(home: Path, step: int) -> None:
    """Publish, and be killed before the `step`th call that changes or syncs the disk."""
    calls = 0

    def counted(call: Callable[..., object]) -> Callable[..., object]:
        def wrapper(*arguments: object, **options: object) -> object:
            nonlocal calls
            calls += 1
            if calls == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)

        return wrapper

    settings = settings_for(home)
    for name in ("mkdir", "fsync", "rename", "replace", "symlink", "unlink"):
        setattr(os, name, counted(getattr(os, name)))
    publish(settings, NOW)


def die_on_demand(home: Path, orders: Connection) -> None:
    """Take steps to die at, one after the other, and answer each publisher's exit code.

    Every publisher is forked from this process, which imported everything and opened nothing.
    """
    while (step := orders.recv()) is not None:
        publisher = os.fork()
        if publisher == 0:
            publish_and_die(home, step)
            os._exit(0)
        orders.send(os.waitstatus_to_exitcode(os.waitpid(publisher, 0)[1]))


def publish_for_ever(started: Event, home: Path) -> None:
    settings = settings_for(home)
    while True:
        started.set()
        publish(settings, NOW)
