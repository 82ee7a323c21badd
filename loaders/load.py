"""Load what has landed: every new file of the landing zone becomes a raw segment, once."""

from __future__ import annotations

import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from duckdb.func import PythonUDFType

from larder.lock import hold
from larder.settings import Settings
from larder.warehouse import open_memory
from loaders.entities import DOMAINS, Domain
from loaders.landing import LandingFile, find_files
from loaders.segments import UNKNOWN, Ledger, SegmentCounts, write_segment
from loaders.vault import Vault, open_vault

FILES_AT_ONCE = 2


@dataclass
class EntityLoad:
    """Say what a load did for one entity."""

    files: int = 0
    waiting: int = 0
    records: int = 0
    duplicates: int = 0
    rejected: int = 0
    seconds: float = 0.0

    def add(self, counts: SegmentCounts) -> None:
        """Add a file."""
        self.files += 1
        self.records += counts.records
        self.duplicates += counts.duplicates
        self.rejected += counts.rejected


@dataclass
class LoadSummary:
    """Say what a load did, by entity path; `skipped` files had been loaded before."""

    entities: dict[str, EntityLoad] = field(default_factory=lambda: defaultdict(EntityLoad))
    skipped: int = 0

    @property
    def files(self) -> int:
        """The number of files loaded."""
        return sum(entity.files for entity in self.entities.values())


Progress = Callable[[str, int, int], None]


def load(
    settings: Settings, now: Callable[[], datetime], progress: Progress | None = None
) -> LoadSummary:
    """Load every file that has landed and is not loaded yet.

    Safe with several loaders at once: an entity is loaded by one of them at a time. `progress` is
    called with the entity, files done and files to do.

    Raises:
        LandingError: the landing zone cannot be read.
        KeyMismatchError: the vault cannot be used.
    """
    raw = settings.raw_folder
    raw.mkdir(parents=True, exist_ok=True, mode=0o700)
    summary = LoadSummary()
    ledger = Ledger(raw).read()
    pending = []
    for file in find_files(settings.landing_folder):
        if ledger.knows(file):
            summary.skipped += 1
        else:
            pending.append(file)
    if pending:
        _sweep(raw / "_aside")
        with open_vault(settings) as vault, open_memory(settings) as connection:
            _create_functions(connection, vault)
            _load_pending(settings, ledger, connection, pending, summary, now, progress)
    ledger.read().write_cache()
    return summary


def _load_pending(
    settings: Settings,
    ledger: Ledger,
    connection: duckdb.DuckDBPyConnection,
    pending: list[LandingFile],
    summary: LoadSummary,
    now: Callable[[], datetime],
    progress: Progress | None,
) -> None:
    locks = settings.raw_folder / "_locks"
    locks.mkdir(exist_ok=True)
    for path, group in groupby(sorted(pending, key=_entity_path), key=_entity_path):
        started = time.monotonic()
        entity_load = summary.entities[path]
        lock = locks / path.replace("/", "_")
        with hold(lock, "larder load", settings.lock_wait_seconds, now=now):
            # Another loader may have been here while we waited.
            ledger.read()
            files = [file for file in group if not ledger.knows(file)]
            results = _write_segments(connection, settings.raw_folder, ledger, files, now)
            for done, counts in enumerate(results, start=1):
                if counts is None:
                    entity_load.waiting += 1
                else:
                    entity_load.add(counts)
                if progress:
                    progress(path, done, len(files))
        entity_load.seconds = time.monotonic() - started


def _write_segments(
    connection: duckdb.DuckDBPyConnection,
    raw: Path,
    ledger: Ledger,
    files: list[LandingFile],
    now: Callable[[], datetime],
) -> Iterable[SegmentCounts | None]:
    def write(file: LandingFile) -> SegmentCounts | None:
        with connection.cursor() as cursor:
            return write_segment(cursor, file, raw, ledger.origins(file.relative), now)

    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        yield from pool.map(write, files)


def _entity_path(file: LandingFile) -> str:
    return file.entity.path if file.entity else UNKNOWN


def _sweep(aside: Path) -> None:
    """Remove what killed loaders left; a living one has its process id in the name."""
    for leftover in aside.glob("*"):
        pid = leftover.name.partition("-")[0]
        if not (Path("/proc") / pid).exists():
            shutil.rmtree(leftover, ignore_errors=True)


def _create_functions(connection: duckdb.DuckDBPyConnection, vault: Vault) -> None:
    connection.execute("set TimeZone = 'UTC'")
    # Lines come back in the order of the file: their position is their line number.
    connection.execute("set preserve_insertion_order = true")
    connection.create_function("nesting_depth", _nesting_depth, ["VARCHAR"], "BIGINT")
    for domain in DOMAINS:
        connection.create_function(
            f"{domain}_token",
            _token_function(vault, domain),
            ["VARCHAR"],
            "VARCHAR",
            type=PythonUDFType.ARROW,
        )


def _nesting_depth(text: str) -> int:
    """Return the depth of nesting of a text that may be JSON; strings are not looked into."""
    depth = deepest = 0
    is_string = is_escaped = False
    for character in text:
        if is_string:
            is_string = is_escaped or character != '"'
            is_escaped = character == "\\" and not is_escaped
        elif character == '"':
            is_string = True
        elif character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


def _token_function(vault: Vault, domain: Domain) -> Callable[[pa.Array], pa.Array]:
    def tokens(person_ids: pa.Array) -> pa.Array:
        if isinstance(person_ids, pa.ChunkedArray):
            person_ids = person_ids.combine_chunks()
        encoded = person_ids.dictionary_encode()
        # FHIR writes a reference as Patient/<id>.
        names = [name.removeprefix("Patient/") for name in encoded.dictionary.to_pylist()]
        found = vault.tokens(domain, names)
        return pc.take(pa.array([found[name] for name in names], pa.string()), encoded.indices)

    return tokens
