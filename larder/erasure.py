"""Erase a person from everything that exists: the home folder, the landing zone, the lake."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path

from larder.serving.lake import fetched_files, rewrite_without
from larder.settings import Settings
from loaders.erasing import Erasure, erase


class LakeCopies:
    """The generations that stand in the lake."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def erase(self, tokens: list[str]) -> list[str]:
        """Take the owners of these tokens out of the lake."""
        return rewrite_without(self._settings, tokens)

    def copies(self) -> AbstractContextManager[Iterator[tuple[str, Path]]]:
        """Give every file of the lake to be searched."""
        return fetched_files(self._settings)


def erase_everywhere(settings: Settings, customer_id: str, now: Callable[[], datetime]) -> Erasure:
    """Erase a customer from everything that exists, and prove it by searching.

    Raises:
        LarderError: as `loaders.erasing.erase`; run again, it goes on from there.
    """
    return erase(settings, customer_id, now, [LakeCopies(settings)] if settings.lake else [])
