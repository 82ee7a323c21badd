"""What lies in the lake: which generations are whole, which files they name, and what may go."""

from __future__ import annotations

from collections.abc import Container, Iterable
from functools import cached_property

from larder.serving.lake_manifest import LakeGeneration
from larder.serving.lake_tables import LakeFile
from larder.serving.places import Place

# Hive and Athena leave names with a line at their beginning alone.
MANIFEST = "_manifest.json"
# By table, month or hour, and fingerprint.
KnownFiles = dict[tuple[str, str | None, str], LakeFile]


class LakeContents:
    """Hold the names below a place as they were listed; what is written since is not in it."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.sizes = dict(place.sizes("generation="))
        self.whole = {
            prefix for prefix in map(_prefix, self.sizes) if f"{prefix}/{MANIFEST}" in self.sizes
        }

    @cached_property
    def generations(self) -> dict[str, LakeGeneration]:
        """The whole generations by their prefix."""
        found = {}
        for prefix in sorted(self.whole):
            name = f"{prefix}/{MANIFEST}"
            url = f"{self.place.url}/{name}"
            found[prefix] = LakeGeneration.from_json(self.place.read(name) or b"", url)
        return found

    def standing(self, name: str) -> LakeGeneration | None:
        """Return a generation that is in the lake as a whole, such as one that is gone back to."""
        prefixes = self.prefixes_of([name])
        return self.generations[min(prefixes)] if prefixes else None

    def prefixes_of(self, names: Iterable[str]) -> set[str]:
        """Return where these generations lie as a whole; after an erasure one has a number."""
        wanted = set(names)
        return {
            prefix
            for prefix in self.whole
            if prefix.removeprefix("generation=").partition(".")[0] in wanted
        }

    def prefixes_with(self, files: set[str]) -> set[str]:
        """Return where generations lie that name one of the files, or have written it."""
        naming = {
            prefix
            for prefix, one in self.generations.items()
            if not files.isdisjoint(_named([one]))
        }
        return naming | {_prefix(name) for name in files}

    def known_files(self, without: Container[str]) -> KnownFiles:
        """Return the files that whole generations name, where they are there in their size."""
        return {
            (table.name, file.partition, file.fingerprint): file
            for generation in self.generations.values()
            for table in generation.tables
            for file in table.files
            if self.sizes.get(file.name) == file.size_bytes and file.name not in without
        }

    def free_prefix(self, name: str) -> str:
        """Return a prefix below which nothing lies that anybody knows, and empty it."""
        taken = {_prefix(one) for one in _named(self.generations.values())} | self.whole
        prefix, number = f"generation={name}", 0
        while prefix in taken:
            number += 1
            prefix = f"generation={name}.{number}"  # after an erasure
        self.place.remove(f"{prefix}/")  # what a killed one has left
        return prefix

    def sweep(self, kept: set[str]) -> None:
        """Remove generations but those of these prefixes, and what was never finished.

        Files that a kept generation names stay, whoever has written them.
        """
        needless = {_prefix(name) for name in self.sizes} - kept
        if not needless:
            return
        named = _named(one for prefix, one in self.generations.items() if prefix in kept)
        for prefix in sorted(needless & self.whole):
            # the manifest first: half of a generation must not be taken for a whole one
            self.place.remove(f"{prefix}/{MANIFEST}")
        for prefix in sorted({_prefix(one) for one in self.sizes.keys() - named} & needless):
            self.place.remove(f"{prefix}/", keeping=named)


def _prefix(name: str) -> str:
    return name.partition("/")[0]


def _named(generations: Iterable[LakeGeneration]) -> set[str]:
    return {file.name for one in generations for table in one.tables for file in table.files}
