"""Copies of what is published that lie outside the home folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol


class Elsewhere(Protocol):
    """A place, such as the lake, that an erasure has to reach as well."""

    def erase(self, tokens: list[str]) -> list[str]:
        """Take the owners of these tokens out, who have left the generations already.

        Returns what was rewritten or removed.
        """

    def copies(self) -> AbstractContextManager[Iterator[tuple[str, Path]]]:
        """Give the name of every file there, each with a local copy to search."""
