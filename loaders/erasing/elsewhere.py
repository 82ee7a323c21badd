"""Places outside the home folder that hold what was loaded, built or published."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from loaders.erasing.person import Person
from loaders.erasing.report import Erasure


class Elsewhere(Protocol):
    """A place, such as the lake, that an erasure has to reach as well."""

    def find_keys(self, person: Person) -> list[str]:
        """Return what names the person's clicks there, if they have no id."""

    def erase(self, person: Person, report: Erasure) -> None:
        """Take the person out, who has left the home already."""

    def copies(self, texts: Sequence[str]) -> AbstractContextManager[Iterator[tuple[str, Path]]]:
        """Give the name of everything there, each with a local file to search.

        The file has at least what may hold one of the texts.
        """

    def forget(self, texts: Sequence[str], report: Erasure) -> None:
        """Forget the tokens, which the vault has just forgotten."""
