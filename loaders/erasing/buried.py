"""Erase the people whom only a tombstone knows, from a home that was restored from before.

A tombstone is a keyed hash and cannot be turned back into an id. So every id that the home holds is
hashed and compared.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow as pa

from larder.lock import run_lock
from larder.settings import Settings
from larder.warehouse import literal, open_memory
from loaders.asides import make_aside, remove_aside, sweep_asides
from loaders.entities import DOMAINS, Domain, Entity, read_entities
from loaders.erasing.person import Person, find_person
from loaders.erasing.report import Erasure
from loaders.erasing.steps import remove, scrub_vault, with_keys
from loaders.landing import LandingFile, find_files
from loaders.ledger import find_segments
from loaders.load import create_functions, load
from loaders.readers import UnreadableFileError, decompressed
from loaders.vault import Tombstone, Vault, open_vault
from loaders.zones import open_zone

BATCH_ROWS = 10_000
# What may be an id in a text that no reader understands: a quoted text, or what has no gaps.
_WORDS = re.compile(r'"([^"\\]{1,200})"|([^\s",;:{}\[\]]{1,200})')


def erase_buried(
    settings: Settings, tombstones: Collection[Tombstone], now: Callable[[], datetime]
) -> Erasure:
    """Take over tombstones, and remove everybody who has one from the home, as `erase` does.

    Raises:
        LandingError: the landing zone cannot be read.
        KeyMismatchError: the vault cannot be used.
    """
    report = Erasure()
    with run_lock(settings, "larder restore", now=now), open_zone(settings) as zone:
        if settings.landing_bucket or settings.landing_folder.is_dir():
            load(settings, now)
        sweep_asides(settings.raw_folder)
        with open_vault(settings) as vault, open_memory(settings) as connection:
            create_functions(connection, vault)
            buried = {*tombstones, *vault.tombstones()}
            ids = _find_ids(settings, connection, vault, buried)
            person = _as_one(settings, connection, vault, ids)
            vault.bury_hashes(buried)
            for domain in person.ids:
                vault.bury(domain, person.ids[domain])
            tokens = [*dict.fromkeys([*person.tokens, *vault.buried_tokens()])]
            person = with_keys(settings, Person(person.ids, tokens, person.values))
            report.was_known = bool(tokens or person.texts())
            if report.was_known:
                remove(settings, zone, connection, vault, person, report, now)
            vault.forget_buried()
            scrub_vault(settings, vault, person, report)
    return report


def _as_one(
    settings: Settings,
    connection: duckdb.DuckDBPyConnection,
    vault: Vault,
    ids: dict[Domain, set[str]],
) -> Person:
    """Return all of them as one person: what each is known by, and the patients that they are."""
    found = [
        find_person(settings, connection, vault, "commerce", one) for one in sorted(ids["commerce"])
    ]
    everything: dict[Domain, list[str]] = {}
    for domain in DOMAINS:
        theirs = {one for person in found for one in person.ids.get(domain, ())}
        everything[domain] = sorted(theirs | ids[domain])
    return Person(
        {domain: known for domain, known in everything.items() if known},
        [token for person in found for token in person.tokens],
        [*dict.fromkeys(value for person in found for value in person.values)],
    )


def _find_ids(
    settings: Settings,
    connection: duckdb.DuckDBPyConnection,
    vault: Vault,
    buried: Collection[Tombstone],
) -> dict[Domain, set[str]]:
    found: dict[Domain, set[str]] = {domain: set() for domain in DOMAINS}
    hashes = {domain: {hashed for one, hashed in buried if one == domain} for domain in DOMAINS}

    def compare(domain: Domain, ids: Iterable[str]) -> None:
        candidates = sorted(set(ids))
        if hashes[domain]:
            found[domain].update(
                one.strip()
                for one, hashed in zip(candidates, vault.hashes(candidates), strict=True)
                if hashed in hashes[domain]
            )

    for entity in read_entities().values():
        for domain in {one.person for one in entity.persons if one.person}:
            compare(domain, _ids_in_fields(settings, connection, entity, domain))
    for words in _words(settings, connection):
        for domain in DOMAINS:
            compare(domain, words)
    return found


def _ids_in_fields(
    settings: Settings, connection: duckdb.DuckDBPyConnection, entity: Entity, domain: Domain
) -> Iterator[str]:
    if not any(find_segments(settings.raw_folder, entity.path)):
        return
    pattern = literal(str(settings.raw_folder / entity.path / "process_hour=*" / "*.parquet"))
    sources = {
        name if name.startswith("$.") else f'$."{name}"'
        for one in entity.persons
        if one.person == domain
        for name in one.sources
    }
    for source in sorted(sources):
        rows = connection.execute(
            f"select distinct trim(json_extract_string(payload, {literal(source)})) as id "
            f"from read_parquet({pattern}, hive_partitioning = false) "
            "where rejection_reason is null and payload is not null and id is not null"
        )
        while batch := rows.fetchmany(BATCH_ROWS):
            yield from (row[0].removeprefix("Patient/") for row in batch)


def _words(settings: Settings, connection: duckdb.DuckDBPyConnection) -> Iterator[set[str]]:
    """Yield what may be an id in records, and in whole files, that were rejected."""
    segments = [str(segment) for segment in find_segments(settings.raw_folder)]
    if not segments:
        return
    rows = connection.execute(
        "select payload from read_parquet($segments, hive_partitioning = false) "
        "where rejection_reason is not null and payload <> ''",
        {"segments": segments},
    )
    while batch := rows.fetchmany(BATCH_ROWS):
        yield {word for row in batch for word in _words_of(row[0])}
    names = connection.execute(
        "select distinct source_file from read_parquet($segments, hive_partitioning = false) "
        "where rejection_reason is not null and payload = ''",
        {"segments": segments},
    ).fetchall()
    rejected = {row[0] for row in names}
    if not rejected:
        return
    for file in find_files(settings.landing_folder):
        if file.relative in rejected:
            yield from _words_of_file(settings, connection, file)


def _words_of_file(
    settings: Settings, connection: duckdb.DuckDBPyConnection, file: LandingFile
) -> Iterator[set[str]]:
    aside = make_aside(settings.raw_folder)
    try:
        if file.file_format == ".parquet":
            rows = connection.execute(
                "select to_json(held)::varchar from read_parquet($file) as held",
                {"file": str(file.path)},
            )
            while batch := rows.fetchmany(BATCH_ROWS):
                yield {word for row in batch for word in _words_of(row[0])}
            return
        plain: Path = decompressed(file, aside / "plain")
        with plain.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                yield set(_words_of(line))
    except (UnreadableFileError, pa.ArrowException, duckdb.Error):
        return  # the erasure says of such a file that it cannot be searched
    finally:
        remove_aside(aside)


def _words_of(text: str) -> Iterator[str]:
    for quoted_text, word in _WORDS.findall(text):
        yield (quoted_text or word).strip().removeprefix("Patient/")
        if quoted_text:
            yield from quoted_text.split()
