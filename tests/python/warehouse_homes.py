"""The homes of the warehouses that tests build."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from larder.settings import Settings

# When the tests' loads and publications happen; the sample network ends on 2019-04-30.
NOW = datetime(2019, 5, 1, 5, 0, tzinfo=UTC)


def settings_of(home: Path) -> Settings:
    """Return the settings of a home folder whose key lies beside it."""
    return Settings(home=home, key_file=home.with_name(f"{home.name}.key"))
