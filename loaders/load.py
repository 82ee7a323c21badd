"""Load what has landed: every new file of the landing zone becomes a raw segment, once."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from threading import Semaphore

import duckdb
import pyarrow as pa
from duckdb.func import FunctionNullHandling, PythonUDFType

from larder.lock import hold
from larder.progress import Progress
from larder.settings import Settings
from larder.warehouse import open_memory
from loaders.asides import sweep_asides
from loaders.bus.outbox import begin_outbox
from loaders.entities import DOMAINS, Domain
from loaders.landing import LandingFile
from loaders.ledger import Ledger, Origin
from loaders.limits import nesting_depth
from loaders.segments import UNKNOWN, SegmentCounts, write_segment
from loaders.vault import Vault, open_vault
from loaders.zones import FILES_AT_ONCE, NotReadError, Unread, Zone, open_zone

Written = SegmentCounts | Origin | Unread | None


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
    """Say what a load did, by entity path; `skipped` files had been loaded before.

    `unread` could not be brought from S3 this time; the next load tries again. `left` names those
    and the files that are still being written.
    """

    entities: dict[str, EntityLoad] = field(default_factory=lambda: defaultdict(EntityLoad))
    skipped: int = 0
    unread: list[Unread] = field(default_factory=list)
    left: set[str] = field(default_factory=set)

    @property
    def files(self) -> int:
        """The number of files loaded."""
        return sum(entity.files for entity in self.entities.values())

    @property
    def waiting(self) -> int:
        """The number of files that are still being written."""
        return sum(entity.waiting for entity in self.entities.values())

    @property
    def failures(self) -> list[Unread]:
        """What could not be read though it is there."""
        return [unread for unread in self.unread if unread.is_failure]


def load(
    settings: Settings,
    now: Callable[[], datetime],
    progress: Progress | None = None,
    *,
    only: Collection[str] | None = None,
    is_stopping: Callable[[], bool] = lambda: False,
) -> LoadSummary:
    """Load every file that has landed and is not loaded yet, or `only` the files of these names.

    Safe with several loaders at once: an entity is loaded by one of them at a time. `progress` is
    called with the entity, files done and files to do. Once `is_stopping`, no other file is begun;
    those that are left count as waiting.

    Raises:
        LandingError: the landing zone cannot be read; what was loaded before stays.
        KeyMismatchError: the vault cannot be used.
        BusError: there is no outbox of the event bus, and none can be made.
    """
    raw = settings.raw_folder
    raw.mkdir(parents=True, exist_ok=True, mode=0o700)
    begin_outbox(settings)  # which takes what was loaded before for history
    summary = LoadSummary()
    ledger = Ledger(raw).read()
    with ExitStack() as opened:
        zone = opened.enter_context(open_zone(settings))
        pending = []
        for file in zone.find() if only is None else filter(None, map(zone.look_up, only)):
            if ledger.knows(file):
                summary.skipped += 1
            else:
                pending.append(file)
        if pending:
            sweep_asides(raw)
            vault = opened.enter_context(open_vault(settings))
            connection = opened.enter_context(open_memory(settings))
            create_functions(connection, vault)
            loader = _Loader(settings, zone, ledger, connection, vault, now, is_stopping)
            loader.load(pending, summary, progress)
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


@dataclass
class _Loader:
    """Load files, an entity after the other."""

    settings: Settings
    zone: Zone
    ledger: Ledger
    connection: duckdb.DuckDBPyConnection
    vault: Vault
    now: Callable[[], datetime]
    is_stopping: Callable[[], bool]
    # Bringing files is waiting for the network, so more of them may do that than may compute.
    computing: Semaphore = field(default_factory=lambda: Semaphore(FILES_AT_ONCE))

    def load(
        self, pending: list[LandingFile], summary: LoadSummary, progress: Progress | None
    ) -> None:
        for path, group in groupby(sorted(pending, key=_entity_path), key=_entity_path):
            started = time.monotonic()
            entity_load = summary.entities[path]
            with entity_lock(self.settings, path, "larder load", self.now):
                # Another loader may have been here while we waited.
                self.ledger.read()
                files = [file for file in group if not self.ledger.knows(file)]
                results = zip(files, self._write_segments(files), strict=True)
                for done, (file, written) in enumerate(results, start=1):
                    if written is None or isinstance(written, Unread):
                        summary.left.add(file.relative)
                    if written is None:
                        entity_load.waiting += 1
                    elif isinstance(written, Unread):
                        summary.unread.append(written)
                    elif isinstance(written, Origin):
                        self.ledger.remember(written)
                        summary.skipped += 1
                    else:
                        entity_load.add(written)
                    if progress:
                        progress(path, done, len(files))
            entity_load.seconds = time.monotonic() - started

    def _write_segments(self, files: list[LandingFile]) -> Iterable[Written]:
        with ThreadPoolExecutor(self.zone.files_at_once) as pool:
            yield from pool.map(self._write_segment, files)

    def _write_segment(self, file: LandingFile) -> Written:
        if self.is_stopping():
            return None
        try:
            with (
                self.zone.brought(file) as landed,
                self.computing,
                self.connection.cursor() as cursor,
            ):
                known = self.ledger.origins(file.relative)
                raw = self.settings.raw_folder
                return write_segment(cursor, landed, raw, known, self.now, self.vault)
        except NotReadError as error:
            return error.unread


def _entity_path(file: LandingFile) -> str:
    return file.entity.path if file.entity else UNKNOWN


def create_functions(connection: duckdb.DuckDBPyConnection, vault: Vault) -> None:
    """Give a connection what the SQL of `loaders.checks` needs."""
    # Lines come back in the order of the file: their position is their line number.
    connection.execute("set preserve_insertion_order = true")
    connection.create_function("nesting_depth", nesting_depth, ["VARCHAR"], "BIGINT")
    for domain in DOMAINS:
        connection.create_function(
            f"{domain}_token",
            _token_function(vault, domain),
            ["VARCHAR"],
            "VARCHAR",
            type=PythonUDFType.ARROW,
            null_handling=FunctionNullHandling.SPECIAL,  # no token is an answer
        )


def _token_function(vault: Vault, domain: Domain) -> Callable[[pa.Array], pa.Array]:
    def tokens(person_ids: pa.Array) -> pa.Array:
        # FHIR writes a reference as Patient/<id>.
        names = [name.removeprefix("Patient/") for name in person_ids.drop_null().to_pylist()]
        found = pa.array(vault.tokens(domain, names), pa.string())
        # Only rows with a person are asked for; a null among them would be a person of that name.
        assert len(found) == len(person_ids)
        return found

    return tokens
