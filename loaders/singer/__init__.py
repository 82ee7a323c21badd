"""Load a stream of messages as Singer taps (Meltano's among them) and Airbyte's sources send it."""

from __future__ import annotations

from loaders.singer.target import load_singer

__all__ = ["load_singer"]
