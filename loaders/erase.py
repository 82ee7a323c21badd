"""Erase a person: out of landing files, raw segments, databases and the vault, and prove it.

Tombstones come first, so that nothing of the person is taken any more; tokens are forgotten last,
so that an erasure that was killed can be run again and finds what it has not removed yet.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import mmap
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any, cast

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from larder.errors import LandingError
from larder.lock import run_lock
from larder.settings import Settings
from larder.warehouse import PUBLISHED_STORAGE_VERSION, attach, literal, open_memory, quoted
from loaders.checks import segment_sql
from loaders.entities import Domain, Entity, Field, read_entities
from loaders.landing import LandingFile, find_files, sha256_of
from loaders.load import create_functions, entity_lock, load
from loaders.readers import (
    LINE_FORMATS,
    UnreadableFileError,
    csv_rows,
    decompressed,
    elements,
    skip_byte_order_mark,
)
from loaders.segments import (
    Origin,
    commit,
    copy_options,
    find_segments,
    make_aside,
    read_origins,
    remove_aside,
    sweep_asides,
)
from loaders.vault import Vault, open_vault

CUSTOMERS, PATIENTS = "accounts/customers", "clinic/patients"
CUSTOMER_SYSTEM = "urn:larder:customer"
BATCH_ROWS = 10_000
# A shorter id, or one of few digits, stands in many places where it means something else: it is
# looked for in the fields of persons only.
LEAST_TELLING_LENGTH = 6
# A table of what happened keeps its rows, without the person.
EVENT_COLUMNS = frozenset(
    {
        "basket_id",
        "event_id",
        "event_key",
        "interacted_at",
        "menu_event_key",
        "movement_key",
        "occurred_at",
        "order_id",
        "order_line_key",
        "ordered_at",
        "sale_key",
        "session_key",
        "sold_at",
    }
)


@dataclass
class Erasure:
    """Say what an erasure did, in counts and paths; it never holds anything of the person.

    `traces` are the files in which something was still found: empty is the proof. `unsearchable`
    are damaged files that could not be looked into.
    """

    was_known: bool = False
    landing_files: int = 0
    segments: int = 0
    records_removed: int = 0
    records_kept_without_person: int = 0
    tables: int = 0
    table_rows: int = 0
    tokens: int = 0
    searched_files: int = 0
    traces: list[str] = field(default_factory=list)
    unsearchable: list[str] = field(default_factory=list)

    @property
    def is_proven(self) -> bool:
        """Whether nothing of the person was found any more."""
        return not self.traces

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        return {**asdict(self), "is_proven": self.is_proven}


@dataclass(frozen=True)
class _Person:
    """Hold all that a person is known by: ids by domain, tokens, and telling personal values."""

    ids: dict[Domain, list[str]]
    tokens: list[str]
    values: list[str]

    def texts(self) -> list[str]:
        """Return every id and value; a text that contains none of them is not about the person."""
        return [*dict.fromkeys([*(one for ids in self.ids.values() for one in ids), *self.values])]

    def needles(self) -> list[bytes]:
        """Return the bytes to look for in files, plain and as JSON escapes them."""
        escaped = (json.dumps(text)[1:-1] for text in self.texts())
        return [*dict.fromkeys(text.encode() for text in [*self.texts(), *escaped])]


def erase(settings: Settings, customer_id: str, now: Callable[[], datetime]) -> Erasure:
    """Erase a customer from everything below `LARDER_HOME` and the landing zone.

    What has landed is loaded first, so that nothing is missed. Records about the person go, in
    dead letters too; events and order lines stay without the person. Patients that name the
    customer as theirs go as well. Running it again is harmless, and finishes what was killed.

    Raises:
        LandingError: the id is empty, or the landing zone cannot be read.
        KeyMismatchError: the vault cannot be used.
        WarehouseBusyError: another run, or a reader of the build, did not end in time.
    """
    customer_id = customer_id.strip()
    if not customer_id:
        raise LandingError("The customer id is empty: name the customer to erase.")
    report = Erasure()
    with run_lock(settings, "larder erase", now=now):
        load(settings, now)
        sweep_asides(settings.raw_folder)
        with open_vault(settings) as vault, open_memory(settings) as connection:
            create_functions(connection, vault)
            person = _find_person(settings, connection, vault, customer_id)
            report.was_known = bool(person.tokens)
            vault.write_plan(customer_id, json.dumps(asdict(person)))
            for domain, ids in person.ids.items():
                vault.bury(domain, ids)
            for entity in read_entities().values():
                if any(one.person in person.ids or one.personal for one in entity.fields):
                    with entity_lock(settings, entity.path, "larder erase", now):
                        _erase_from_entity(settings, connection, entity, person, report)
            for database, version in _databases(settings):
                _erase_from_database(settings, database, version, person, report)
            report.tokens = len(person.tokens)
            _prove(settings, vault, person, report)
            for domain, ids in person.ids.items():
                vault.forget(domain, ids)
            vault.write_plan(customer_id, None)
            vault.scrub()
            forgotten = [text.encode() for text in [*person.tokens, *person.values]]
            for file in settings.vault_folder.iterdir():
                report.searched_files += 1
                if _contains(file, forgotten):
                    report.traces.append(f"vault/{file.name}")
    return report


def _find_person(
    settings: Settings, connection: duckdb.DuckDBPyConnection, vault: Vault, customer_id: str
) -> _Person:
    unfinished = vault.read_plan(customer_id)
    plan: dict[str, Any] = json.loads(unfinished) if unfinished else {}
    ids: dict[Domain, list[str]] = {
        "commerce": [customer_id],
        "health": [
            *plan.get("ids", {}).get("health", []),
            *_patients_of(settings, connection, customer_id),
        ],
    }
    tokens = [
        token
        for domain, of_domain in ids.items()
        for one in of_domain
        for token in vault.known_tokens(one, [domain])
    ]
    values = _telling_values(settings, connection, customer_id)
    return _Person(
        {domain: list(dict.fromkeys(ids[domain])) for domain in ids},
        list(dict.fromkeys([*plan.get("tokens", []), *tokens])),
        list(dict.fromkeys([*plan.get("values", []), *values])),
    )


def _good_records(settings: Settings, entity: str) -> str | None:
    if not any(find_segments(settings.raw_folder, entity)):
        return None
    pattern = literal(str(settings.raw_folder / entity / "process_hour=*" / "*.parquet"))
    return (
        f"(select payload, natural_key from read_parquet({pattern}, hive_partitioning = false) "
        "where rejection_reason is null and payload is not null)"
    )


def _patients_of(
    settings: Settings, connection: duckdb.DuckDBPyConnection, customer_id: str
) -> list[str]:
    records = _good_records(settings, PATIENTS)
    if records is None:
        return []
    rows = connection.execute(
        f"select distinct natural_key from {records} where list_contains(list_transform("
        "from_json(json_extract(payload, '$.identifier'), "
        """'[{"system": "VARCHAR", "value": "VARCHAR"}]'), """
        "lambda one: one.system || '|' || trim(one.value)), $identifier)",
        {"identifier": f"{CUSTOMER_SYSTEM}|{customer_id}"},
    ).fetchall()
    return [row[0] for row in rows]


def _telling_values(
    settings: Settings, connection: duckdb.DuckDBPyConnection, customer_id: str
) -> list[str]:
    """Return the person's addresses, numbers and names that no other customer shares."""
    records = _good_records(settings, CUSTOMERS)
    if records is None:
        return []
    values: list[str] = []
    for name in ("full_name", "email", "phone"):
        rows = connection.execute(
            f"select value from (select trim(payload->>'{name}') as value, natural_key "
            f"from {records}) where length(value) >= $length "
            "group by value having bool_and(natural_key = $customer)",
            {"length": LEAST_TELLING_LENGTH, "customer": customer_id},
        ).fetchall()
        values.extend(row[0] for row in rows)
    return values


# --- landing files and segments -----------------------------------------------------------------


def _erase_from_entity(
    settings: Settings,
    connection: duckdb.DuckDBPyConnection,
    entity: Entity,
    person: _Person,
    report: Erasure,
) -> None:
    """Rewrite the entity's landing files, and each segment before the file it was made from.

    A segment then knows both contents of its file: whatever is killed, neither is loaded again.
    """
    clean = _Cleaner(entity, person)
    aside = make_aside(settings.raw_folder)
    try:
        rewritten: dict[str, tuple[LandingFile, Path, Origin]] = {}
        for number, file in enumerate(find_files(settings.landing_folder)):
            if file.entity != entity or file.file_format is None:
                continue
            target = aside / f"landing-{number}"
            try:
                is_changed = _rewrite_landing(file, clean, aside, target)
            except (UnreadableFileError, pa.ArrowException, duckdb.Error):
                report.unsearchable.append(f"landing/{file.relative}")
                continue
            if is_changed:
                shutil.copymode(file.path, target)
                os.utime(target, ns=(file.modified_ns, file.modified_ns))
                size = target.stat().st_size
                origin = Origin(file.relative, sha256_of(target), size, file.modified_ns)
                rewritten[file.relative] = file, target, origin
        for segment in find_segments(settings.raw_folder, entity.path):
            origins = read_origins(segment)
            files = {origin.source_file for origin in origins}
            new = [rewritten[name][2] for name in files & rewritten.keys()]
            if _rewrite_segment(connection, entity, segment, origins, new, clean, aside):
                report.segments += 1
        for file, target, _ in rewritten.values():
            # beside the file first: the landing zone may be on another disk
            beside = file.path.with_name(f".{file.path.name}.tmp")
            shutil.copy2(target, beside)
            commit(beside, file.path)
            report.landing_files += 1
    finally:
        remove_aside(aside)
    report.records_removed += clean.removed
    report.records_kept_without_person += clean.kept


class _Cleaner:
    """Take the person out of a record's text."""

    def __init__(self, entity: Entity, person: _Person) -> None:
        self.person = person
        self.removed = self.kept = 0
        self._fields = [one for one in entity.persons if one.person in person.ids]
        self._is_about_persons = any(one.personal for one in entity.fields)
        self._texts = person.texts()
        self._mention = re.compile(
            "|".join(rf"(?<![\w-]){re.escape(text)}(?![\w-])" for text in self._texts)
        )

    def __call__(self, text: str) -> str | None:
        """Return the text without the person: unchanged, changed, or null if nothing is left."""
        record = None
        with suppress(ValueError, RecursionError):
            record = json.loads(text)
        if not isinstance(record, dict):
            return None if self._mention.search(text) else text
        for one in self._fields:
            if self._value(record, one) not in self.person.ids[cast(Domain, one.person)]:
                continue
            if one.required or any(name.startswith("$.") for name in one.sources):
                return None
            for name in one.sources:
                record.pop(name, None)
            text = json.dumps(record, ensure_ascii=False)
        if self._is_about_persons and any(
            value in self.person.values for value in record.values() if isinstance(value, str)
        ):
            return None
        return text

    def counted(self, text: str) -> str | None:
        """Do the same and count it."""
        result = self(text)
        self.removed += result is None
        self.kept += result is not None and result != text
        return result

    def mentions(self, text: str) -> bool:
        """Tell whether any of the person's ids and values is in the text at all, quickly."""
        return any(needle in text for needle in self._texts) or "\\u" in text

    @staticmethod
    def _value(record: dict[str, Any], one: Field) -> str | None:
        for source in one.sources:
            value: Any = record
            for name in source.removeprefix("$.").split("."):
                value = value.get(name) if isinstance(value, dict) else None
            if value not in (None, ""):
                return str(value).removeprefix("Patient/").strip()
        return None


def _rewrite_segment(
    connection: duckdb.DuckDBPyConnection,
    entity: Entity,
    segment: Path,
    origins: list[Origin],
    new_origins: list[Origin],
    clean: _Cleaner,
    aside: Path,
) -> bool:
    """Write the segment without the person under its own name; tell whether it had to be."""
    tokens = ", ".join(literal(token) for token in clean.person.tokens) or "null"
    columns = [f"{domain}_token" for domain in clean.person.ids]
    is_theirs = " or ".join(f"{column} in ({tokens})" for column in columns)
    source = f"read_parquet({literal(str(segment))}, file_row_number = true)"
    rows = connection.execute(
        f"select coalesce(line_number, file_row_number + 1), payload, {is_theirs} is true "
        f"from {source} where {is_theirs} or rejection_reason is not null"
    )
    affected: list[tuple[int, str | None]] = []
    while batch := rows.fetchmany(BATCH_ROWS):
        for line_number, payload, is_good in batch:
            text = clean.counted(payload) if is_good or clean.mentions(payload) else payload
            if text != payload:
                affected.append((line_number, text if is_good else None))
    if not affected and not new_origins:
        return False
    numbers, lines = zip(*affected, strict=True) if affected else ((), ())
    connection.register(
        "erased_lines",
        pa.table(
            {
                "line_number": pa.array(numbers, pa.int64()),
                "line": pa.array(lines, pa.string()),
                "problem": pa.nulls(len(numbers), pa.string()),
                "is_cut_off": pa.repeat(False, len(numbers)),
            }
        ),
    )
    place = connection.execute(
        f"select source_file, received_at, loaded_at from {source} limit 1"
    ).fetchall()
    mended = segment_sql(entity, "(select * from erased_lines where line is not null)")
    target = aside / "segment"
    connection.execute(
        f"""
        copy (
            select * exclude (file_row_number) replace (
                coalesce(line_number, file_row_number + 1) as line_number
            )
            from {source}
            where coalesce(line_number, file_row_number + 1) not in (
                select line_number from erased_lines
            )
            union all by name
            select * from ({mended})
        ) to {literal(str(target))} ({copy_options([*origins, *new_origins])})
        """,
        dict(zip(("source_file", "received_at", "loaded_at"), place[0], strict=True)),
    ).fetchall()
    connection.unregister("erased_lines")
    commit(target, segment)
    return True


def _rewrite_landing(file: LandingFile, clean: _Cleaner, aside: Path, target: Path) -> bool:
    """Write the file without the person to `target`; tell whether there was anything to remove."""
    if file.file_format == ".parquet":
        return _rewrite_parquet(file.path, clean, target)
    plain = decompressed(file, aside / "plain")
    try:
        if not _contains(plain, clean.person.needles()):
            return False
        if file.file_format in LINE_FORMATS:
            write = _write_lines
        elif file.file_format == ".json":
            write = _write_array
        else:
            write = _write_csv
        with plain.open("rb") as source, _compressed(target, file.compression) as sink:
            return write(source, sink, clean)
    finally:
        (aside / "plain").unlink(missing_ok=True)


def _compressed(path: Path, compression: str | None) -> IO[bytes]:
    if compression == ".gz":
        return cast(IO[bytes], gzip.GzipFile(path, "wb", mtime=0))
    if compression == ".zst":
        return cast(IO[bytes], pa.CompressedOutputStream(pa.OSFile(str(path), "wb"), "zstd"))
    return path.open("wb")


def _clean_bytes(data: bytes, clean: _Cleaner) -> bytes | None:
    text = data.decode(errors="surrogateescape")
    if not clean.mentions(text):
        return data
    cleaned = clean(text)
    if cleaned == text:
        return data
    return None if cleaned is None else cleaned.encode(errors="surrogateescape")


def _write_lines(source: IO[bytes], sink: IO[bytes], clean: _Cleaner) -> bool:
    """Write the lines; one that goes leaves a blank line, so that the others keep their numbers."""
    is_changed = False
    for line in source:
        body = line.rstrip(b"\r\n")
        cleaned = _clean_bytes(body, clean)
        is_changed |= cleaned != body
        sink.write((cleaned or b"") + line[len(body) :])
    return is_changed


def _write_array(source: IO[bytes], sink: IO[bytes], clean: _Cleaner) -> bool:
    is_changed, separator = False, b"[\n"
    skip_byte_order_mark(source)
    for element in filter(bytes.strip, elements(source)):
        cleaned = _clean_bytes(element.strip(), clean)
        is_changed |= cleaned != element.strip()
        if cleaned is not None:
            sink.write(separator + cleaned)
            separator = b",\n"
    sink.write(b"\n]\n" if separator == b",\n" else b"[]\n")
    return is_changed


def _write_csv(source: IO[bytes], sink: IO[bytes], clean: _Cleaner) -> bool:
    is_changed, names = False, None
    skip_byte_order_mark(source)
    for _, row in csv_rows(source):
        if isinstance(row, bytes):
            cleaned = _clean_bytes(row, clean)
            is_changed |= cleaned != row
            sink.write(cleaned or b"\n")
            continue
        kept: list[str] | None = row
        if names is None:
            names = [name.strip() for name in row]
        elif len(row) == len(names):
            kept = _clean_row(names, row, clean)
        elif clean(json.dumps(row, ensure_ascii=False)) is None:
            kept = None
        is_changed |= kept != row
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(kept or [])
        sink.write(line.getvalue().encode(errors="surrogateescape"))
    return is_changed


def _clean_row(names: list[str], row: list[str], clean: _Cleaner) -> list[str] | None:
    text = json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False)
    cleaned = clean(text)
    if cleaned is None:
        return None
    left = json.loads(cleaned)
    return [left.get(name, "") for name in names]


def _rewrite_parquet(path: Path, clean: _Cleaner, target: Path) -> bool:
    is_changed = False
    with pq.ParquetFile(path) as source, pq.ParquetWriter(target, source.schema_arrow) as sink:
        for batch in source.iter_batches():
            cleaned = _clean_batch(batch, clean)
            is_changed |= cleaned is not batch
            sink.write_batch(cleaned)
    return is_changed


def _clean_batch(batch: pa.RecordBatch, clean: _Cleaner) -> pa.RecordBatch:
    rows, is_changed = [], False
    for row in batch.to_pylist():
        text = json.dumps(row, ensure_ascii=False, default=str)
        cleaned = clean(text) if clean.mentions(text) else text
        is_changed |= cleaned != text
        if cleaned is not None:
            left = json.loads(cleaned)
            rows.append({name: value if name in left else None for name, value in row.items()})
    return pa.RecordBatch.from_pylist(rows, batch.schema) if is_changed else batch


# --- databases ----------------------------------------------------------------------------------


def _databases(settings: Settings) -> Iterator[tuple[Path, str | None]]:
    if settings.build_database.is_file():
        yield settings.build_database, None
    for generation in sorted(settings.generations_folder.glob("*/*.duckdb")):
        yield generation, PUBLISHED_STORAGE_VERSION


def _erase_from_database(
    settings: Settings, database: Path, version: str | None, person: _Person, report: Erasure
) -> None:
    """Replace the file by a copy without the person; no free block of it has ever seen them."""
    if not person.tokens:
        return
    beside = [database.with_name(f".{database.name}.{step}.erasing") for step in (1, 2)]
    for leftover in database.parent.glob(f".{database.name}.*.erasing*"):
        leftover.unlink()
    with open_memory(settings) as connection:
        attach(connection, database, "present", read_only=True)
        tables = _tables_with_person(connection, "present", person)
        if not tables and version is not None:
            return  # a generation was copied when the person was not in it
        attach(connection, beside[0], "cleaned", read_only=False, storage_version=version)
        connection.execute("copy from database present to cleaned")
        connection.execute("detach present")
        for statement in tables:
            report.table_rows += connection.execute(statement).fetchall()[0][0]
        report.tables += len(tables)
        attach(connection, beside[1], "rewritten", read_only=False, storage_version=version)
        connection.execute("copy from database cleaned to rewritten")
        connection.execute("detach cleaned")
        connection.execute("detach rewritten")
    beside[0].unlink()
    shutil.copymode(database, beside[1])
    commit(beside[1], database)


def _tables_with_person(
    connection: duckdb.DuckDBPyConnection, catalog: str, person: _Person
) -> list[str]:
    """Return the statements, for the catalog `cleaned`, that take the person out of its tables."""
    columns: dict[tuple[str, str], list[tuple[str, bool]]] = {}
    for schema, table, column, is_nullable in connection.execute(
        "select columns.schema_name, columns.table_name, column_name, columns.is_nullable "
        "from duckdb_columns() as columns inner join duckdb_tables() as tables "
        "using (database_name, schema_name, table_name) where database_name = $catalog",
        {"catalog": catalog},
    ).fetchall():
        columns.setdefault((schema, table), []).append((column, is_nullable))
    tokens = ", ".join(literal(token) for token in person.tokens)
    statements = []
    for (schema, table), described in columns.items():
        name = f"{quoted(schema)}.{quoted(table)}"
        is_event = not EVENT_COLUMNS.isdisjoint(column for column, _ in described)
        for column, is_nullable in described:
            if not column.endswith(("_token", "_key")):
                continue
            condition = f"{quoted(column)}::varchar in ({tokens})"
            found = connection.execute(
                f"select count(*) from {quoted(catalog)}.{name} where {condition}"
            ).fetchall()[0][0]
            if found and is_event and is_nullable:
                statements.append(
                    f"update cleaned.{name} set {quoted(column)} = null where {condition}"
                )
            elif found:
                statements.append(f"delete from cleaned.{name} where {condition}")
    return statements


# --- proof --------------------------------------------------------------------------------------


def _prove(settings: Settings, vault: Vault, person: _Person, report: Erasure) -> None:
    """Search every file for ids, hashes, tokens and telling values, also inside compressed ones."""
    hashes = [hashed for ids in person.ids.values() for hashed in vault.hashes(ids)]
    texts = [
        *person.tokens,
        *person.values,
        *(one for ids in person.ids.values() for one in ids if _is_telling(one)),
    ]
    raw = [*hashes, *(hashed.hex().encode() for hashed in hashes), *(t.encode() for t in texts)]
    homes = [settings.home]
    if not settings.landing_folder.is_relative_to(settings.home):
        homes.append(settings.landing_folder)
    cleaners = {entity: _Cleaner(entity, person) for entity in read_entities().values()}
    landed = {file.path: file for file in find_files(settings.landing_folder)}
    with open_memory(settings) as connection:
        for home in homes:
            for file in _files(home):
                if file.parent == settings.vault_folder:
                    continue  # it holds tombstones and the plan; its turn comes afterwards
                report.searched_files += 1
                name = file.relative_to(home).as_posix()
                try:
                    is_found = (
                        _contains(file, raw)
                        or _is_found_inside(connection, file, texts, raw)
                        or _is_found_in_fields(landed.get(file), cleaners, settings)
                    )
                except (duckdb.Error, pa.ArrowException, UnreadableFileError, OSError, EOFError):
                    if f"landing/{name}" not in report.unsearchable:
                        report.unsearchable.append(name)
                    continue
                if is_found:
                    report.traces.append(name)


def _is_telling(person_id: str) -> bool:
    return len(person_id) >= LEAST_TELLING_LENGTH + 2 * person_id.isdigit()


def _files(home: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(home):
        for name in sorted(names):
            path = Path(folder) / name
            if path.is_file() and not path.is_symlink():
                yield path


def _contains(path: Path, needles: Iterable[bytes]) -> bool:
    """Tell whether any of the needles is in the file, with no word character on either side."""
    if path.stat().st_size == 0:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for needle in needles:
            if content.find(needle) < 0:
                continue
            if re.search(rb"(?<![\w-])" + re.escape(needle) + rb"(?![\w-])", content):
                return True
    return False


def _is_found_inside(
    connection: duckdb.DuckDBPyConnection, file: Path, texts: list[str], raw: list[bytes]
) -> bool:
    """Search what compression hides from a search of the bytes."""
    pattern = "|".join(rf"(?:^|[^\w-]){re.escape(text)}(?:[^\w-]|$)" for text in texts)
    if not texts:
        return False
    if file.suffix == ".parquet":
        relation = f"read_parquet({literal(str(file))}, hive_partitioning = false)"
        return _is_in_relation(connection, relation, pattern)
    if file.suffix == ".duckdb":
        attach(connection, file, "searched", read_only=True)
        try:
            tables = connection.execute(
                "select schema_name, table_name from duckdb_tables() "
                "where database_name = 'searched'"
            ).fetchall()
            return any(
                _is_in_relation(connection, f"searched.{quoted(schema)}.{quoted(table)}", pattern)
                for schema, table in tables
            )
        finally:
            connection.execute("detach searched")
    if file.suffix in (".gz", ".zst"):
        overlap = max(map(len, raw))
        with _decompressing(file) as stream:
            tail = b""
            while chunk := stream.read(1024 * 1024):
                window = tail + chunk
                if any(needle in window for needle in raw):
                    return True
                tail = window[-overlap:]
    return False


def _decompressing(file: Path) -> IO[bytes]:
    if file.suffix == ".gz":
        return cast(IO[bytes], gzip.open(file))
    return cast(IO[bytes], pa.CompressedInputStream(pa.OSFile(str(file)), "zstd"))


def _is_in_relation(connection: duckdb.DuckDBPyConnection, relation: str, pattern: str) -> bool:
    rows = connection.execute(
        f"select 1 from {relation} as searched_row "
        "where regexp_matches(to_json(searched_row)::varchar, $pattern) limit 1",
        {"pattern": pattern},
    ).fetchall()
    return bool(rows)


def _is_found_in_fields(
    file: LandingFile | None, cleaners: dict[Entity, _Cleaner], settings: Settings
) -> bool:
    """Search the fields of persons, for ids that are too short to be searched for anywhere."""
    if file is None or file.entity is None or file.file_format is None:
        return False
    aside = make_aside(settings.raw_folder)
    try:
        return _rewrite_landing(file, cleaners[file.entity], aside, aside / "again")
    finally:
        remove_aside(aside)
