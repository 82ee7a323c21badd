"""The published generations, wherever they are: files of DuckDB, or schemas on Snowflake."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from larder.serving import publish, snowflake_publish
from larder.serving.publish import Publication
from larder.settings import Settings


class Generations(Protocol):
    """What can be done with generations, the same on both engines."""

    def publish(
        self, settings: Settings, now: datetime, *, as_of_at: datetime | None = None
    ) -> Publication:
        """Make the build a new generation that readers have."""

    def rollback(self, settings: Settings) -> Publication:
        """Give readers the generation before."""

    def list_generations(self, settings: Settings) -> list[str]:
        """List the names of the whole generations, newest first."""

    def published_generation(self, settings: Settings) -> str | None:
        """Return the generation that readers have, or null."""

    def describe_generation(self, settings: Settings, name: str) -> Publication:
        """Read what a generation says about itself."""


def generations(settings: Settings) -> Generations:
    """Return the generations of the settings' engine."""
    return snowflake_publish if settings.target == "prod" else publish
