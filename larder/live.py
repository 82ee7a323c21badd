"""Events that no published build has yet: schema `live`, typed and anonymised, not all audited.

It is made for one query, in memory: of the raw segments that the published generation was not made
from, by the SQL that the next build will use (`larder.live_models`). So a query waits for no build,
and no build for it. What an audit holds is not in it. An event that was delivered again since is
in schema `marts` as well.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import duckdb

from larder.errors import WarehouseError
from larder.live_models import Say, live_models
from larder.serving.built import named_tables, open_built
from larder.settings import Settings
from larder.warehouse import METADATA_TABLE, quoted
from loaders.audit.verdicts import Verdicts, entity_of, segment_names
from loaders.ledger import holds_only
from loaders.segments import SEGMENT_SCHEMA, segment_rows

SCHEMA = "live"
TRIES = 3
_HERE = f"memory.{SCHEMA}"
# The catalog that compiled SQL names: that of the build's file, which is never opened here.
_CATALOG = "build"
_SEGMENTS = "select segment from raw.segments"


def remember_contained(settings: Settings, generation: str, kept: Collection[str]) -> None:
    """Keep which segments a new generation was made from; forget generations that are gone.

    Where a build does not say, all segments count as new: better twice than not at all.
    """
    try:
        with open_built(settings, [_SEGMENTS]) as connection:
            segments = sorted(name for (name,) in connection.execute(_SEGMENTS).fetchall())
    except WarehouseError:
        return
    folder = settings.live_folder
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    aside = folder / f".{generation}.tmp"
    aside.write_text(json.dumps(segments), encoding="utf-8")
    aside.replace(_contained_file(settings, generation))
    for file in folder.glob("generation-*.json"):
        if file.stem.removeprefix("generation-") not in {generation, *kept}:
            file.unlink(missing_ok=True)


class Live:
    """Make schema `live` in a connection for one query.

    Raises:
        BuildError: dbt could not compile what it is made of.
        SettingsError, WarehouseBusyError: as `live_models` does.
        WarehouseError: the query cannot be parsed.
    """

    def __init__(self, settings: Settings, sql: str, say: Say = lambda _: None) -> None:
        self._settings = settings
        self._asked = named_tables([sql]).get(SCHEMA, set())
        self._models = live_models(settings, say)

    def fill(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Make its tables; those that the query names have rows, the others only columns.

        Raises:
            WarehouseError: segments vanish again and again.
        """
        for _ in range(TRIES):
            segments: dict[str, bool] = {}
            try:
                segments = self._new_segments(connection)
                self._fill(connection, segments)
                return
            except (FileNotFoundError, duckdb.IOException) as error:
                are_there = all((self._settings.raw_folder / name).exists() for name in segments)
                if are_there and not isinstance(error, FileNotFoundError):
                    raise
                # compacted since they were listed
                connection.execute(f"drop schema if exists {_HERE} cascade")
                connection.execute(f"detach database if exists {_CATALOG}")
        raise WarehouseError("the raw segments change while they are read. Ask again.")

    def _new_segments(self, connection: duckdb.DuckDBPyConnection) -> dict[str, bool]:
        """Return the segments that the published generation lacks, and whether each is audited."""
        try:
            ((generation,),) = connection.execute(
                f"select min(generation) from {METADATA_TABLE}"
            ).fetchall()
        except duckdb.CatalogException:  # nothing is published yet
            generation = None
        contained = _contained(self._settings, generation)
        latest = Verdicts(self._settings).latest
        found_segments = {}
        for name in segment_names(self._settings):
            verdict = latest.get(name)
            is_held = verdict is not None and verdict.verdict == "held"
            if is_held or name in contained:
                continue
            if not holds_only(self._settings.raw_folder / name, contained):
                found_segments[name] = verdict is not None
        return found_segments

    def _fill(self, connection: duckdb.DuckDBPyConnection, segments: dict[str, bool]) -> None:
        connection.execute(f"create schema {_HERE}")
        connection.execute(f"attach ':memory:' as {_CATALOG}")
        for source in self._models.sources:
            connection.execute(f"create schema if not exists {_CATALOG}.{source.schema}")
            connection.execute(
                f"create view {_CATALOG}.{source.schema}.{source.name} as "
                + " union all ".join(
                    self._rows(source.entity, segments, is_audited=is_audited)
                    for is_audited in (False, True)
                )
            )
        for model in self._models.models:
            name = f"{_CATALOG}.{model.schema}.{model.name}"
            connection.execute(f"create schema if not exists {_CATALOG}.{model.schema}")
            connection.execute(f"create view {name} as {model.sql}")
            if model.table is not None:
                columns = ", ".join(map(quoted, model.columns))
                connection.execute(
                    f"create table {_HERE}.{model.table} as select {columns}, "
                    f"accepted_at is not null as is_audited from {name} where is_current"
                    + ("" if model.table in self._asked else " limit 0")
                )
        connection.execute(f"detach {_CATALOG}")
        ((path,),) = connection.execute("select current_setting('search_path')").fetchall()
        connection.execute(f"set search_path = '{f'{path},' if path else ''}{_HERE}'")

    def _rows(self, entity: str, segments: dict[str, bool], *, is_audited: bool) -> str:
        """Give the records as the build's view of the entity does; accepted when audited."""
        paths = [
            self._settings.raw_folder / name
            for name, known in segments.items()
            if entity_of(name) == entity and known == is_audited
        ]
        columns = ", ".join(
            f"coalesce({name}, file_row_number + 1) as {name}" if name == "line_number" else name
            for name in SEGMENT_SCHEMA.names
        )
        return (
            f"select {columns}, filename as segment, "
            f"{'loaded_at' if is_audited else 'cast(null as timestamp)'} as accepted_at "
            f"from {segment_rows(paths, 'filename = true')} "
            "where rejection_reason is null and payload is not null"
        )


def _contained(settings: Settings, generation: str | None) -> frozenset[str]:
    """Return what a generation was made from; nothing where that is not known."""
    if generation is None:
        return frozenset()
    try:
        text = _contained_file(settings, generation).read_text(encoding="utf-8")
    except FileNotFoundError:
        return frozenset()
    return frozenset(json.loads(text))


def _contained_file(settings: Settings, generation: str) -> Path:
    return settings.live_folder / f"generation-{generation}.json"
