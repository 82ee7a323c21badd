"""Load what has landed: every new file of the landing zone becomes a raw segment, once."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from pathlib import Path

import duckdb
import pyarrow as pa
from duckdb.func import FunctionNullHandling, PythonUDFType

from larder.lock import hold
from larder.progress import Progress
from larder.settings import Settings
from larder.warehouse import open_memory
from loaders.asides import sweep_asides
from loaders.entities import DOMAINS, Domain
from loaders.landing import LandingFile, find_files
from loaders.ledger import Ledger, Origin
from loaders.segments import UNKNOWN, SegmentCounts, write_segment
from loaders.vault import Vault, open_vault

FILES_AT_ONCE = 2


@dataclass
class EntityLoad:
    """Say what a load did for one entity.

    `duplicates` are records that a file holds more than once; a record that comes again in another
    file is taken as a copy, which no model counts twice.
    """

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

    @property
    def waiting(self) -> int:
        """The number of files that are still being written."""
        return sum(entity.waiting for entity in self.entities.values())


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
        sweep_asides(raw)
        with open_vault(settings) as vault, open_memory(settings) as connection:
            create_functions(connection, vault)
            _load_pending(settings, ledger, connection, vault, pending, summary, now, progress)
    ledger.read().write_cache()
    return summary


@contextmanager
def entity_lock(
    settings: Settings, path: str, command: str, now: Callable[[], datetime]
) -> Iterator[None]:
    """Hold the right to write segments of an entity.

    Raises:
        WarehouseBusyError: another process held it for longer than the time to wait.
    """
    locks = settings.raw_folder / "_locks"
    locks.mkdir(exist_ok=True)
    with hold(locks / path.replace("/", "_"), command, settings.lock_wait_seconds, now=now):
        yield


def _load_pending(
    settings: Settings,
    ledger: Ledger,
    connection: duckdb.DuckDBPyConnection,
    vault: Vault,
    pending: list[LandingFile],
    summary: LoadSummary,
    now: Callable[[], datetime],
    progress: Progress | None,
) -> None:
    for path, group in groupby(sorted(pending, key=_entity_path), key=_entity_path):
        started = time.monotonic()
        entity_load = summary.entities[path]
        with entity_lock(settings, path, "larder load", now):
            # Another loader may have been here while we waited.
            ledger.read()
            files = [file for file in group if not ledger.knows(file)]
            results = _write_segments(connection, vault, settings.raw_folder, ledger, files, now)
            for done, counts in enumerate(results, start=1):
                if counts is None:
                    entity_load.waiting += 1
                elif isinstance(counts, Origin):
                    ledger.remember(counts)
                    summary.skipped += 1
                else:
                    entity_load.add(counts)
                if progress:
                    progress(path, done, len(files))
        entity_load.seconds = time.monotonic() - started


def _write_segments(
    connection: duckdb.DuckDBPyConnection,
    vault: Vault,
    raw: Path,
    ledger: Ledger,
    files: list[LandingFile],
    now: Callable[[], datetime],
) -> Iterable[SegmentCounts | Origin | None]:
    def write(file: LandingFile) -> SegmentCounts | Origin | None:
        with connection.cursor() as cursor:
            return write_segment(cursor, file, raw, ledger.origins(file.relative), now, vault)

    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        yield from pool.map(write, files)


def _entity_path(file: LandingFile) -> str:
    return file.entity.path if file.entity else UNKNOWN


def create_functions(connection: duckdb.DuckDBPyConnection, vault: Vault) -> None:
    """Give a connection what the SQL of `loaders.checks` needs."""
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
            null_handling=FunctionNullHandling.SPECIAL,  # no token is an answer
        )


# A string counts for nothing, also one that does not end.
_BRACKETS = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)


def _nesting_depth(text: str) -> int:
    """Return the depth of nesting of a text that may be JSON; strings are not looked into."""
    depth = deepest = 0
    for match in _BRACKETS.finditer(text):
        mark = match.group()
        if mark in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif mark in "]}":
            depth -= 1
    return deepest


def _token_function(vault: Vault, domain: Domain) -> Callable[[pa.Array], pa.Array]:
    def tokens(person_ids: pa.Array) -> pa.Array:
        # FHIR writes a reference as Patient/<id>.
        names = [name.removeprefix("Patient/") for name in person_ids.drop_null().to_pylist()]
        found = pa.array(vault.tokens(domain, names), pa.string())
        # Only rows with a person are asked for; a null among them would be a person of that name.
        assert len(found) == len(person_ids)
        return found

    return tokens
