"""How a long step says how far it is, to whoever shows it."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Takes what has just been done, how many are done, and of how many."""
