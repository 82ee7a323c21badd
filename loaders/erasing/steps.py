"""The order of the steps of an erasure.

Tombstones come first, so that nothing of the person is taken any more; tokens are forgotten last,
so that an erasure that was killed can be run again and finds what it has not removed yet.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow as pa

from larder.errors import LandingError
from larder.lock import run_lock
from larder.settings import Settings
from larder.warehouse import open_memory
from loaders.asides import make_aside, remove_aside, sweep_asides
from loaders.entities import Domain, Entity, read_entities
from loaders.erasing.cleaner import Cleaner
from loaders.erasing.databases import erase_from_database, find_databases, find_keys
from loaders.erasing.elsewhere import Elsewhere
from loaders.erasing.landing_files import rewrite_landing_file
from loaders.erasing.outbox import erase_from_outbox
from loaders.erasing.person import Person, find_person, plan_name
from loaders.erasing.proof import prove, words_of
from loaders.erasing.report import Erasure
from loaders.erasing.search import contains
from loaders.erasing.segments import (
    find_affected,
    find_contested,
    rewrite_segment,
    standing_origins,
)
from loaders.erasing.truth_files import erase_from_truth
from loaders.landing import LandingFile, sha256_of
from loaders.ledger import Ledger, Origin, find_segments, read_origins
from loaders.load import create_functions, entity_lock, load
from loaders.readers import UnreadableFileError
from loaders.vault import Vault, open_vault
from loaders.zones import NotReadError, Unread, Zone, open_zone


def erase(
    settings: Settings,
    person_id: str,
    now: Callable[[], datetime],
    elsewhere: Sequence[Elsewhere] = (),
    domain: Domain = "commerce",
) -> Erasure:
    """Erase a customer, or who the domain says, from home folder, landing zone and `elsewhere`.

    What has landed is loaded first, so that nothing is missed. Records about the person go, in
    dead letters too; events and order lines stay without the person. Patients that name the
    customer as theirs go as well, and visitors of menus that only they have signed in as. A
    delivery update is about its driver, and goes. Running it again is harmless, and finishes what
    was killed.

    Raises:
        LandingError: the id is empty, or the landing zone cannot be read or rewritten.
        KeyMismatchError: the vault cannot be used.
        WarehouseBusyError: another run, or a reader of the build, did not end in time.
        WarehouseError: a place elsewhere cannot be used.
    """
    person_id = person_id.strip()
    if not person_id:
        raise LandingError("The id is empty: name the person to erase.")
    report = Erasure()
    try:
        with run_lock(settings, "larder erase", now=now), open_zone(settings) as zone:
            _erase(settings, zone, domain, person_id, now, report, elsewhere)
    except NotReadError as error:
        raise _unread_error(error.unread) from error
    return report


def _unread_error(unread: Unread) -> LandingError:
    return LandingError(
        f"The person cannot be erased for certain: {unread.relative} was not read, for "
        f"{unread.why}. Run `larder erase` again when it can be; it goes on from where it stopped."
    )


def _erase(
    settings: Settings,
    zone: Zone,
    domain: Domain,
    person_id: str,
    now: Callable[[], datetime],
    report: Erasure,
    elsewhere: Sequence[Elsewhere],
) -> None:
    zone.require_rewritable()
    summary = load(settings, now)
    if summary.unread:
        raise _unread_error(summary.unread[0])
    sweep_asides(settings.raw_folder)
    with open_vault(settings) as vault, open_memory(settings) as connection:
        create_functions(connection, vault)
        person = find_person(settings, connection, vault, domain, person_id)
        person = with_keys(settings, person, elsewhere)
        report.was_known, report.left = bool(person.tokens), person.left
        vault.write_plan(plan_name(domain, person_id), json.dumps(asdict(person)))
        for one, ids in person.ids.items():
            vault.bury(one, ids)
        remove(settings, zone, connection, vault, person, report, now, elsewhere)
        for one, ids in person.ids.items():
            vault.forget(one, ids)
        for place in elsewhere:
            place.forget(words_of(vault, person), report)
        vault.write_plan(plan_name(domain, person_id), None)
        scrub_vault(settings, vault, person, report)


def with_keys(settings: Settings, person: Person, elsewhere: Sequence[Elsewhere] = ()) -> Person:
    """Return the person with what is made of their tokens, before any of it is gone."""
    found = [find_keys(settings, person), *(place.find_keys(person) for place in elsewhere)]
    keys = [*person.keys, *(key for keys in found for key in keys)]
    return replace(person, keys=[*dict.fromkeys(keys)])


def remove(
    settings: Settings,
    zone: Zone,
    connection: duckdb.DuckDBPyConnection,
    vault: Vault,
    person: Person,
    report: Erasure,
    now: Callable[[], datetime],
    elsewhere: Sequence[Elsewhere] = (),
) -> None:
    """Take a buried person, or several as one, out of everything but the vault, and prove it."""
    rehashed: dict[str, str] = {}
    for entity in read_entities().values():
        if any(one.person or one.personal for one in entity.fields):
            with entity_lock(settings, entity.path, "larder erase", now):
                rehashed |= _erase_from_entity(settings, zone, connection, entity, person, report)
    Ledger(settings.raw_folder).read().write_cache()  # it repeats what segments knew
    for database, version in find_databases(settings):
        erase_from_database(settings, database, version, person, rehashed, report)
    erase_from_truth(settings, person, report)
    erase_from_outbox(settings, person, report)
    for place in elsewhere:
        place.erase(person, report)
    report.tokens = len(person.tokens)
    prove(settings, zone, vault, person, report, elsewhere)


def scrub_vault(settings: Settings, vault: Vault, person: Person, report: Erasure) -> None:
    """Take what was forgotten out of the vault's free pages and log as well, and prove it."""
    vault.scrub()
    forgotten = [text.encode() for text in [*person.marks, *person.values]]
    for file in settings.vault_folder.iterdir():
        report.searched_files += 1
        if contains(file, forgotten):
            report.traces.append(f"vault/{file.name}")


def _erase_from_entity(
    settings: Settings,
    zone: Zone,
    connection: duckdb.DuckDBPyConnection,
    entity: Entity,
    person: Person,
    report: Erasure,
) -> dict[str, str]:
    """Rewrite the entity's landing files, and each segment before the file it was made from.

    A segment then knows both contents of its file: whatever is killed, neither is loaded again.
    In the end it forgets the earlier one: its hash would tell whoever guesses the person's record
    that the guess is right. Should that content be delivered again, it is a changed file.
    Returns the new content hash of each record that stays and is not contested, by the one that it
    had.
    """
    landed = {file.relative: file for file in zone.find()}
    clean = Cleaner(entity, person)
    aside = make_aside(settings.raw_folder)
    # Of what lies in S3, so that nothing is brought twice; a file is read when it is asked for.
    digests: dict[str, str] = {}

    def content_of(name: str) -> str | None:
        if name in digests:
            return digests[name]
        try:
            with zone.brought(landed[name]) as brought:
                return sha256_of(brought.path)
        except (KeyError, FileNotFoundError):
            return None

    try:
        rewritten: dict[str, tuple[LandingFile, Path, Origin]] = {}
        for number, file in enumerate(landed.values()):
            if file.entity != entity or file.file_format is None:
                continue
            target = aside / f"landing-{number}"
            try:
                with zone.brought(file) as brought:
                    if file.etag:
                        digests[file.relative] = sha256_of(brought.path)
                    is_changed = rewrite_landing_file(brought, clean, aside, target)
            except (UnreadableFileError, pa.ArrowException, duckdb.Error):
                report.unsearchable.append(f"landing/{file.relative}")
                continue
            if is_changed:
                size = target.stat().st_size
                origin = Origin(file.relative, sha256_of(target), size, file.modified_ns)
                rewritten[file.relative] = file, target, origin
            elif target.exists():
                target.unlink()
        rehashed: dict[str, str] = {}
        segments = list(find_segments(settings.raw_folder, entity.path))
        contested = find_contested(connection, entity, segments, person)
        for segment in segments:
            origins = read_origins(segment)
            affected = find_affected(connection, segment, clean)
            names = {origin.source_file for origin in origins} & rewritten.keys()
            if affected or names:
                others = [origin for origin in origins if origin.source_file not in names]
                known = [
                    *standing_origins(others, content_of),
                    *(origin for origin in origins if origin.source_file in names),
                    *(rewritten[name][2] for name in names),
                ]
                rehashed |= rewrite_segment(connection, entity, segment, affected, known, aside)
                report.segments += 1
        placed: dict[tuple[str, str], Origin] = {}
        for file, target, origin in rewritten.values():
            put = zone.replace(file, target)
            report.landing_files += 1
            key = origin.source_file, origin.sha256
            placed[key] = replace(origin, modified_ns=put.modified_ns, etag=put.etag)
            if file.etag:
                digests[file.relative] = origin.sha256
        for segment in segments:
            origins = read_origins(segment)
            # also what a killed erasure has left
            if len({origin.source_file for origin in origins}) < len(origins):
                known = [
                    placed.get((origin.source_file, origin.sha256), origin)
                    for origin in standing_origins(origins, content_of)
                ]
                rewrite_segment(connection, entity, segment, [], known, aside)
    finally:
        remove_aside(aside)
    report.records_removed += clean.removed
    report.records_kept_without_person += clean.kept
    return {old: new for old, new in rehashed.items() if old not in contested}
