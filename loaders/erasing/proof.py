"""Prove an erasure by searching every file there is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from larder.settings import Settings
from larder.warehouse import open_memory
from loaders.asides import make_aside, remove_aside
from loaders.entities import Entity, read_entities
from loaders.erasing.cleaner import Cleaner
from loaders.erasing.elsewhere import Elsewhere
from loaders.erasing.landing_files import rewrite_landing_file
from loaders.erasing.person import Person, is_telling
from loaders.erasing.report import Erasure
from loaders.erasing.search import contains, is_found_inside
from loaders.landing import LandingFile, find_files
from loaders.readers import UnreadableFileError
from loaders.vault import Vault

UNSEARCHABLE = (duckdb.Error, pa.ArrowException, UnreadableFileError, OSError, EOFError)


def prove(
    settings: Settings,
    vault: Vault,
    person: Person,
    report: Erasure,
    elsewhere: Sequence[Elsewhere] = (),
) -> None:
    """Search every file for ids, hashes, tokens and telling values, also inside compressed ones."""
    hashes = [hashed for ids in person.ids.values() for hashed in vault.hashes(ids)]
    texts = [
        *person.tokens,
        *person.values,
        *(one for ids in person.ids.values() for one in ids if is_telling(one)),
    ]
    raw = [*hashes, *(hashed.hex().encode() for hashed in hashes), *(t.encode() for t in texts)]
    homes = [settings.home]
    if not settings.landing_folder.is_relative_to(settings.home):
        homes.append(settings.landing_folder)
    cleaners = {entity: Cleaner(entity, person) for entity in read_entities().values()}
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
                        contains(file, raw)
                        or is_found_inside(connection, file, texts, raw)
                        or _is_found_in_fields(landed.get(file), cleaners, settings)
                    )
                except UNSEARCHABLE:
                    if f"landing/{name}" not in report.unsearchable:
                        report.unsearchable.append(name)
                    continue
                if is_found:
                    report.traces.append(name)
        for place in elsewhere:
            with place.copies() as copies:
                for name, file in copies:
                    report.searched_files += 1
                    try:
                        if contains(file, raw) or is_found_inside(connection, file, texts, raw):
                            report.traces.append(name)
                    except UNSEARCHABLE:
                        report.unsearchable.append(name)


def _files(home: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(home):
        for name in sorted(names):
            path = Path(folder) / name
            if path.is_file() and not path.is_symlink():
                yield path


def _is_found_in_fields(
    file: LandingFile | None, cleaners: dict[Entity, Cleaner], settings: Settings
) -> bool:
    """Search the fields of persons, for ids that are too short to be searched for anywhere."""
    if file is None or file.entity is None or file.file_format is None:
        return False
    aside = make_aside(settings.raw_folder)
    try:
        return rewrite_landing_file(file, cleaners[file.entity], aside, aside / "again")
    finally:
        remove_aside(aside)
