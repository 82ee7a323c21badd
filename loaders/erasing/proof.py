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
from loaders.entities import read_entities
from loaders.erasing.cleaner import Cleaner
from loaders.erasing.elsewhere import Elsewhere
from loaders.erasing.landing_files import rewrite_landing_file
from loaders.erasing.person import Person
from loaders.erasing.report import Erasure
from loaders.erasing.search import contains, is_found_inside
from loaders.landing import LandingFile
from loaders.readers import UnreadableFileError
from loaders.vault import Vault
from loaders.zones import Zone

DAMAGES = (duckdb.Error, pa.ArrowException, UnreadableFileError, OSError, EOFError)


def prove(
    settings: Settings,
    zone: Zone,
    vault: Vault,
    person: Person,
    report: Erasure,
    elsewhere: Sequence[Elsewhere] = (),
) -> None:
    """Search every file for ids, hashes, tokens and telling values, also inside compressed ones.

    Older versions that S3 keeps, and that hold the person, go now: what stands in their place has
    been rewritten or deleted before.
    """
    with open_memory(settings) as connection:
        search = _Search(settings, connection, vault, person)
        _search_folders(settings, zone, search, report)
        for place in elsewhere:
            _search_copies(place, search, words_of(vault, person), report)
        for version in zone.kept_versions():
            report.searched_files += 1
            name = f"landing/{version.file.relative}"
            try:
                with version.brought() as brought:
                    is_found = search.finds(brought.path, brought)
            except DAMAGES:
                if name not in report.unsearchable:
                    report.unsearchable.append(name)
                continue
            if is_found and version.is_current:
                report.traces.append(name)
            elif is_found:
                version.delete()
                report.old_versions += 1


def words_of(vault: Vault, person: Person) -> list[str]:
    """Return what is searched for: tokens, telling values and ids, and the keyed hashes of ids."""
    ids = [one for of_domain in person.ids.values() for one in of_domain]
    return [*person.telling(), *(hashed.hex() for hashed in vault.hashes(ids))]


def _search_copies(
    place: Elsewhere, search: _Search, words: Sequence[str], report: Erasure
) -> None:
    with place.copies(words) as copies:
        for name, file in copies:
            report.searched_files += 1
            try:
                if search.finds(file, None):
                    report.traces.append(name)
            except DAMAGES:
                report.unsearchable.append(name)


def _search_folders(settings: Settings, zone: Zone, search: _Search, report: Erasure) -> None:
    homes = [settings.home]
    landed: dict[Path, LandingFile] = {}
    if settings.landing_bucket is None:
        if not settings.landing_folder.is_relative_to(settings.home):
            homes.append(settings.landing_folder)
        landed = {file.path: file for file in zone.find()}
    for home in homes:
        for file in _files(home):
            if file.parent == settings.vault_folder:
                continue  # it holds tombstones and the plan; its turn comes afterwards
            report.searched_files += 1
            name = file.relative_to(home).as_posix()
            try:
                is_found = search.finds(file, landed.get(file))
            except DAMAGES:
                if f"landing/{name}" not in report.unsearchable:
                    report.unsearchable.append(name)
                continue
            if is_found:
                report.traces.append(name)


def _files(home: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(home):
        for name in sorted(names):
            path = Path(folder) / name
            if path.is_file() and not path.is_symlink():
                yield path


class _Search:
    """Tell whether anything of the person is in a file."""

    def __init__(
        self,
        settings: Settings,
        connection: duckdb.DuckDBPyConnection,
        vault: Vault,
        person: Person,
    ) -> None:
        hashes = [hashed for of_domain in person.ids.values() for hashed in vault.hashes(of_domain)]
        self._texts = person.telling()
        self._raw = [
            *hashes,
            *(hashed.hex().encode() for hashed in hashes),
            *(text.encode() for text in self._texts),
        ]
        self._cleaners = {entity: Cleaner(entity, person) for entity in read_entities().values()}
        self._connection = connection
        self._settings = settings

    def finds(self, path: Path, landed: LandingFile | None) -> bool:
        """Search a file; one of the landing zone is searched field by field, too."""
        return (
            contains(path, self._raw)
            or is_found_inside(self._connection, path, self._texts, self._raw)
            or self._is_found_in_fields(landed)
        )

    def _is_found_in_fields(self, file: LandingFile | None) -> bool:
        """Search the fields of persons, for ids that are too short to be searched for anywhere."""
        if file is None or file.entity is None or file.file_format is None:
            return False
        aside = make_aside(self._settings.raw_folder)
        try:
            return rewrite_landing_file(file, self._cleaners[file.entity], aside, aside / "again")
        finally:
            remove_aside(aside)
