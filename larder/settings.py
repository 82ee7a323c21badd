"""Settings, read once from the environment or `.env` into one typed object."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from larder.errors import SettingsError

PROJECT_ROOT = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """Hold every setting; all paths are absolute, all instants are UTC."""

    model_config = SettingsConfigDict(
        env_prefix="LARDER_", env_file=".env", extra="ignore", frozen=True
    )

    home: Path = Path("warehouse")
    landing: Path | None = None
    target: Literal["dev", "ci", "prod"] = "dev"
    key_file: Path = Path("~/.config/larder/key")
    as_of: datetime | None = None
    lock_wait_seconds: float = Field(default=600.0, ge=0)
    memory_limit: str = "2GB"
    lake: str | None = None
    backup: str | None = None
    backup_password_file: Path = Path("~/.config/larder/backup-password")
    # how many of the newest snapshots, hours, days, weeks and months with one stay
    backup_keep_last: int = Field(default=3, ge=1)
    backup_keep_hourly: int = Field(default=24, ge=0)
    backup_keep_daily: int = Field(default=7, ge=0)
    backup_keep_weekly: int = Field(default=5, ge=0)
    backup_keep_monthly: int = Field(default=12, ge=0)

    @field_validator("home", "landing", "key_file", "backup_password_file")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()

    @field_validator("lake")
    @classmethod
    def _lake_place(cls, value: str | None) -> str | None:
        return _folder_or_url(value, r"s3://[^/]+(/.*)?", "s3://bucket/prefix")

    @field_validator("backup")
    @classmethod
    def _backup_place(cls, value: str | None) -> str | None:
        return _folder_or_url(
            value, r"s3:(https?://)?[^/]+/[^/]+(/.*)?", "s3:https://host/bucket/prefix"
        )

    @field_validator("memory_limit")
    @classmethod
    def _size(cls, value: str) -> str:
        if not re.fullmatch(r"\d+(\.\d+)? ?([KMGT]i?)?B", value.strip(), re.IGNORECASE):
            raise ValueError("must be a size such as 2GB")
        return value.strip()

    @field_validator("as_of", mode="before")
    @classmethod
    def _empty_as_of_is_unset(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("as_of")
    @classmethod
    def _utc(cls, value: datetime | None) -> datetime | None:
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)

    @property
    def landing_folder(self) -> Path:
        """The folder that files arrive in."""
        return self.landing or self.home / "landing"

    @property
    def raw_folder(self) -> Path:
        """The folder of the raw segments."""
        return self.home / "raw"

    @property
    def truth_folder(self) -> Path:
        """The folder of what the sample network has planted."""
        return self.home / "truth"

    @property
    def vault_folder(self) -> Path:
        """The folder of the vault, mode 0700."""
        return self.home / "vault"

    @property
    def audit_folder(self) -> Path:
        """The folder of verdicts and Data Docs."""
        return self.home / "audit"

    @property
    def build_database(self) -> Path:
        """The file that dbt alone writes."""
        return self.home / "build.duckdb"

    @property
    def refresh_file(self) -> Path:
        """The empty file that asks for full refreshes until a build has succeeded with one."""
        return self.home / "refresh"

    @property
    def generations_folder(self) -> Path:
        """The folder of the published generations."""
        return self.home / "generations"

    @property
    def published_database(self) -> Path:
        """The symlink to the newest published generation."""
        return self.home / "larder.duckdb"

    @property
    def docs_page(self) -> Path:
        """The page of the documentation."""
        return self.home / "docs" / "index.html"

    @property
    def report_page(self) -> Path:
        """The page that says how good the scores are."""
        return self.home / "report" / "index.html"

    @property
    def logs_folder(self) -> Path:
        """The folder of our own logs."""
        return self.home / "logs"


def _folder_or_url(value: str | None, pattern: str, example: str) -> str | None:
    if not value or not value.strip():
        return None
    place = value.strip().rstrip("/")
    if re.match(r"\w+:", place):
        if not re.fullmatch(pattern, place):
            raise ValueError(f"must be a folder, or a bucket such as {example}")
        return place
    return str(Path(place or "/").expanduser().absolute())


def read_settings() -> Settings:
    """Read the settings from the environment and `.env`.

    Raises:
        SettingsError: a value cannot be used; names the variable, never its value.
    """
    try:
        return Settings()
    except ValidationError as error:
        problems = "; ".join(
            f"LARDER_{'_'.join(str(part) for part in item['loc']).upper()}: {item['msg']}"
            for item in error.errors(include_input=False, include_url=False)
        )
        raise SettingsError(
            f"{problems}. Correct it in the environment or in .env and run again."
        ) from None
