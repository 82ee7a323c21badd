"""Erase a person: out of all files, databases and the vault, and prove it."""

from __future__ import annotations

from loaders.erasing.buried import erase_buried
from loaders.erasing.report import Erasure
from loaders.erasing.steps import erase

__all__ = ["Erasure", "erase", "erase_buried"]
