"""Dead letters: what could not be read, why, and how it comes back in when it is mended."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from larder.errors import LandingError
from larder.settings import Settings
from larder.warehouse import literal, open_memory
from loaders.asides import commit, make_aside, remove_aside
from loaders.checks import typed_fields_sql
from loaders.entities import Entity, read_entities
from loaders.ledger import find_segments
from loaders.limits import MAX_LINE_BYTES
from loaders.segments import UNKNOWN
from loaders.vault import open_vault
from loaders.zones import Zone, open_zone

BATCH_ROWS = 1_000
CONFLICT_REASON = "conflict"
REDRIVEN_FOLDER = "redriven"
REDRIVEN_PLACES = "_redriven"

Place = tuple[str, int, str, str]
"""What tells one dead letter from all others: source file, line number, reason, received at."""


@dataclass(frozen=True)
class DeadLetter:
    """Describe one record that was not taken; `original` may be personal, the rest never is.

    `received_at` is UTC without a zone.
    """

    source: str
    entity: str
    source_file: str
    line_number: int
    reason: str
    detail: str
    original: str
    received_at: datetime

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**asdict(self), "received_at": self._received_at}

    @property
    def place(self) -> Place:
        """Where this letter lies, which it shares with no other."""
        return self.source_file, self.line_number, self.reason, self._received_at

    @property
    def _received_at(self) -> str:
        return f"{self.received_at.isoformat()}Z"


@dataclass(frozen=True)
class Redriven:
    """Count what a redrive wrote; `known` records had been driven in with the same file before."""

    files: int = 0
    records: int = 0
    known: int = 0


def dead_letters(
    settings: Settings,
    entity: str | None = None,
    reason: str | None = None,
    *,
    with_redriven: bool = False,
) -> Iterator[DeadLetter]:
    """List the dead letters of one entity (`<source>/<entity>`) or of all, as they are read.

    First what was rejected, then the losers of conflicts: records with the key of another one (for
    a thing also its `updated_at`) and other content. Of those the smallest content hash stays.
    Those that were driven in again are done with, and only listed on request.
    """
    redriven = set() if with_redriven else _redriven_places(settings)
    for letter in _all_letters(settings, entity, reason):
        if not redriven or letter.place not in redriven:
            yield letter


def _all_letters(
    settings: Settings, entity: str | None, reason: str | None
) -> Iterator[DeadLetter]:
    with open_memory(settings) as connection:
        for path in [*read_entities(), UNKNOWN] if entity is None else [entity]:
            if not any(find_segments(settings.raw_folder, path)):
                continue
            _create_records(connection, settings, path)
            if reason != CONFLICT_REASON:
                chosen = "" if reason is None else f"and rejection_reason = {literal(reason)}"
                yield from _read(connection, path, f"{REJECTED} {chosen} order by all")
            described = read_entities().get(path)
            if described is not None and reason in (None, CONFLICT_REASON):
                yield from _read(connection, path, _conflicts_sql(described))


def redrive(settings: Settings, file: Path) -> Redriven:
    """Drive corrected records in again: they become new landing files, which the next load takes.

    `file` is NDJSON as `dead_letters` prints it, with `original` mended or with the record under
    `corrected`; without either the line is taken for wrong. All is written or nothing; the name of
    a landing file comes from its content, so driving the same records in twice changes nothing.

    Raises:
        LandingError: the file cannot be read, or a line of it is not a dead letter of a known
            entity with a JSON object; names the line, never a value.
        LandingError: the landing zone cannot be written.
        KeyMismatchError: the vault cannot be used.
    """
    records: dict[Entity, list[str]] = defaultdict(list)
    places: dict[Entity, list[Place]] = defaultdict(list)
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    entity, record, place = _read_corrected(line, f"{file}, line {number}")
                    records[entity].append(record)
                    places[entity].append(place)
    except OSError as error:
        raise LandingError(
            f"{file} cannot be read ({error.strerror}). Name the NDJSON file that `larder "
            "dead-letters --format ndjson` wrote and you have mended."
        ) from error
    files = written = known = 0
    with open_vault(settings) as vault, open_zone(settings) as zone:
        for entity, lines_of_entity in records.items():
            content = "".join(f"{record}\n" for record in lines_of_entity).encode()
            # The name outlives an erasure: it must not tell who guesses a record that it is right.
            name = f"{entity.path}/{REDRIVEN_FOLDER}/{vault.content_name(content)}.ndjson"
            if zone.look_up(name) is not None:
                known += len(lines_of_entity)
            else:
                _put(settings, zone, name, content)
                files, written = files + 1, written + len(lines_of_entity)
            # Only now are the letters done with: who is killed in between drives them in again.
            done = "".join(f"{json.dumps(place)}\n" for place in places[entity]).encode()
            _write_whole(
                settings.raw_folder / REDRIVEN_PLACES / f"{vault.content_name(done)}.ndjson", done
            )
    return Redriven(files, written, known)


def _put(settings: Settings, zone: Zone, name: str, content: bytes) -> None:
    aside = make_aside(settings.raw_folder)
    try:
        (aside / "redriven").write_bytes(content)
        zone.put(name, aside / "redriven")
    finally:
        remove_aside(aside)


def _write_whole(final: Path, content: bytes) -> None:
    final.parent.mkdir(parents=True, exist_ok=True)
    aside = final.with_name(f".{final.name}.{os.getpid()}.tmp")
    aside.write_bytes(content)
    commit(aside, final)


def _redriven_places(settings: Settings) -> set[Place]:
    return {
        tuple(json.loads(line))
        for file in (settings.raw_folder / REDRIVEN_PLACES).glob("*.ndjson")
        for line in file.read_bytes().splitlines()
    }


def _place_of(letter: dict[str, Any]) -> Place:
    """Return where a printed letter lies; one that was written by hand lies nowhere."""
    source_file, reason, received_at = (
        str(letter.get(name, "")) for name in ("source_file", "reason", "received_at")
    )
    line_number = letter.get("line_number")
    return source_file, line_number if isinstance(line_number, int) else 0, reason, received_at


def _create_records(connection: duckdb.DuckDBPyConnection, settings: Settings, path: str) -> None:
    pattern = literal(str(settings.raw_folder / path / "process_hour=*" / "*.parquet"))
    connection.execute(
        "create or replace temporary view records as "
        "select * replace (coalesce(line_number, file_row_number + 1) as line_number) "
        f"from read_parquet({pattern}, file_row_number = true, hive_partitioning = false)"
    )


REJECTED = """
    select source_file, line_number, rejection_reason, rejection_detail, payload, received_at
    from records
    where rejection_reason is not null
"""


def _conflicts_sql(entity: Entity) -> str:
    """Give the query for the losers of conflicts, one row for each content that lost."""
    version = "updated_at" if entity.is_thing else "null"
    # Only records whose key has several contents are parsed.
    return f"""
        with contested as (
            select natural_key
            from records
            where rejection_reason is null and natural_key is not null
            group by natural_key
            having min(content_hash) <> max(content_hash)
        ),
        candidates as (
            select
                payload as line,
                natural_key as record_key,
                content_hash as record_hash,
                source_file as record_file,
                line_number as record_line,
                received_at as record_received_at
            from records
            where rejection_reason is null and payload is not null
                and natural_key in (select natural_key from contested)
        ),
        versions as ({typed_fields_sql(entity, "candidates")}),
        ranked as (
            select *, {version} as record_version,
                min(record_hash) over (partition by record_key, record_version) as winner
            from versions
        )
        select
            record_file, record_line, {literal(CONFLICT_REASON)},
            'another record of this key{" and updated_at" if entity.is_thing else ""} stays',
            line, record_received_at
        from ranked
        where record_hash <> winner
        qualify row_number() over (
            partition by record_key, record_version, record_hash
            -- the first to arrive, so that a copy that comes later does not take its place
            order by record_received_at, record_file, record_line
        ) = 1
        order by all
    """


def _read(connection: duckdb.DuckDBPyConnection, path: str, query: str) -> Iterator[DeadLetter]:
    source, _, entity = path.partition("/")
    rows = connection.execute(query)
    while batch := rows.fetchmany(BATCH_ROWS):
        for source_file, line_number, reason, detail, original, received_at in batch:
            yield DeadLetter(
                source, entity, source_file, line_number, reason, detail, original, received_at
            )


def _read_corrected(line: bytes, place: str) -> tuple[Entity, str, Place]:
    letter = _json_or_none(line)
    if not isinstance(letter, dict):
        raise LandingError(
            f"{place} is not a JSON object. Each line must be a dead letter as `larder "
            "dead-letters --format ndjson` prints it. Nothing was driven in."
        )
    path = f"{letter.get('source')}/{letter.get('entity')}"
    entity = read_entities().get(path)
    if entity is None:
        raise LandingError(
            f"{place}: `source` and `entity` do not name an entity of the contract, such as "
            "fridge and stock_events. Correct them. Nothing was driven in."
        )
    record = letter.get("corrected", letter.get("original"))
    if isinstance(record, str):
        record = _json_or_none(record)
    if not isinstance(record, dict):
        raise LandingError(
            f"{place}: `original` is not a JSON object yet. Mend it there, put the whole record "
            "under `corrected`, or take the line out. Nothing was driven in."
        )
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
    try:
        size = len(text.encode())
    except UnicodeEncodeError:  # half a surrogate pair
        text = json.dumps(record, separators=(",", ":"))
        size = len(text)
    if size > MAX_LINE_BYTES:
        raise LandingError(
            f"{place}: the record has more than 1 MiB. Make it smaller. Nothing was driven in."
        )
    return entity, text, _place_of(letter)


def _json_or_none(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
