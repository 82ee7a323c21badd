"""Settings, read once from the environment or `.env` into one typed object."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from larder.errors import LandingError, SettingsError

PROJECT_ROOT = Path(__file__).resolve().parent.parent
S3_SCHEME = "s3://"
KINESIS_SCHEME = "kinesis://"

# an account as it logs in, `organisation-account` or a locator with its region
ACCOUNT = r"^[A-Za-z0-9_][\w.-]*$"
# … and as statements name it: `organisation.account`
ORGANISED_ACCOUNT = r"^[A-Za-z]\w*\.[A-Za-z]\w*$"


class Settings(BaseSettings):
    """Hold every setting; all paths are absolute, all instants are UTC."""

    model_config = SettingsConfigDict(
        env_prefix="LARDER_", env_file=".env", extra="ignore", frozen=True
    )

    home: Path = Path("warehouse")
    landing: Path | str | None = None
    landing_queue: str | None = None
    target: Literal["dev", "ci", "prod"] = "dev"
    key_file: Path = Path("~/.config/larder/key")
    as_of: datetime | None = None
    lock_wait_seconds: float = Field(default=600.0, ge=0)
    memory_limit: str = "2GB"
    lake: str | None = None
    # where chosen events go as they are loaded: `kinesis://stream`; unset: nowhere but this process
    bus: str | None = None
    # who may send to the collector: `<key>:<source>+<source>`, separated by commas; and the secret
    # that the delivery provider signs with
    api_keys: SecretStr | None = None
    radar_secret: SecretStr | None = None
    # how long the collector holds a landing file open after its first event
    collector_hold_seconds: float = Field(default=2.0, ge=0.1, le=900.0)
    # the sites whose pages may send menu events, separated by commas
    menu_origins: str = ""
    backup: str | None = None
    backup_password_file: Path = Path("~/.config/larder/backup-password")
    # how many of the newest snapshots, hours, days, weeks and months with one stay
    backup_keep_last: int = Field(default=3, ge=1)
    backup_keep_hourly: int = Field(default=24, ge=0)
    backup_keep_daily: int = Field(default=7, ge=0)
    backup_keep_weekly: int = Field(default=5, ge=0)
    backup_keep_monthly: int = Field(default=12, ge=0)

    # Where and as whom to log in; host, port and protocol only for private links and tests.
    snowflake_account: str | None = Field(default=None, pattern=ACCOUNT)
    snowflake_user: str | None = Field(default=None, pattern=r"^[\w.@+-]+$")
    snowflake_private_key_path: Path | None = None
    snowflake_private_key_passphrase: SecretStr | None = None
    snowflake_host: str | None = Field(default=None, pattern=r"^[\w.-]+$")
    snowflake_port: int = Field(default=443, ge=1, le=65535)
    snowflake_protocol: Literal["https", "http"] = "https"

    # What `larder deploy` fills into deploy/snowflake/*.sql; checked here, as SQL is made of it.
    snowflake_credit_quota: int = Field(default=100, ge=1, le=1_000_000)
    snowflake_service_public_key_path: Path | None = None
    snowflake_segments_url: str | None = Field(
        default=None, pattern=r"^s3://[a-z0-9][a-z0-9.-]+[a-z0-9](/[\w.=-]+)*/$"
    )
    snowflake_segments_role_arn: str | None = Field(
        default=None, pattern=r"^arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+$"
    )
    snowflake_second_account: str | None = Field(default=None, pattern=ORGANISED_ACCOUNT)
    snowflake_first_account: str | None = Field(default=None, pattern=ORGANISED_ACCOUNT)
    snowflake_replication_minutes: int = Field(default=10, ge=1, le=11_520)

    @field_validator(
        "home",
        "key_file",
        "backup_password_file",
        "snowflake_private_key_path",
        "snowflake_service_public_key_path",
    )
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()

    @field_validator("landing", mode="plain")
    @classmethod
    def _folder_or_bucket(cls, value: Path | str | None) -> Path | str | None:
        if value is None or value == "":
            return None
        text = str(value)
        if not text.lower().startswith(S3_SCHEME):
            return Path(text).expanduser().absolute()
        bucket, _, prefix = text[len(S3_SCHEME) :].partition("/")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]", bucket):
            raise ValueError("must be a folder or s3://bucket/prefix")
        return f"{S3_SCHEME}{bucket}/{prefix.strip('/')}".rstrip("/")

    @field_validator("landing_queue")
    @classmethod
    def _url(cls, value: str | None) -> str | None:
        if value and not re.match(r"https?://", value):
            raise ValueError("must be the URL of an SQS queue, such as https://sqs.…/larder")
        return value or None

    @field_validator("menu_origins")
    @classmethod
    def _origins(cls, value: str) -> str:
        for origin in re.split(r"[\s,]+", value.strip()):
            if origin and not re.fullmatch(r"https?://[\w.-]+(:\d+)?/?", origin):
                raise ValueError("must be sites such as https://bistro.example, without a path")
        return value

    @field_validator("bus")
    @classmethod
    def _stream(cls, value: str | None) -> str | None:
        if not value or not value.strip():
            return None
        if not re.fullmatch(KINESIS_SCHEME + r"[A-Za-z0-9_.-]{1,128}", value.strip()):
            raise ValueError("must name a stream, such as kinesis://trip-events")
        return value.strip()

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
        """The folder that files arrive in.

        Raises:
            LandingError: they arrive in S3.
        """
        if isinstance(self.landing, str):
            raise LandingError(
                f"LARDER_LANDING is {self.landing}, and this writes into a folder only. Let "
                "LARDER_LANDING name a folder, or unset it; what is written there may be copied "
                "to S3 afterwards."
            )
        return self.landing or self.home / "landing"

    @property
    def landing_bucket(self) -> tuple[str, str] | None:
        """Bucket and prefix (empty, or with a slash at its end) that files arrive in, if in S3."""
        if not isinstance(self.landing, str):
            return None
        bucket, _, prefix = self.landing.removeprefix(S3_SCHEME).partition("/")
        return bucket, f"{prefix}/" if prefix else ""

    @property
    def raw_folder(self) -> Path:
        """The folder of the raw segments."""
        return self.home / "raw"

    @property
    def spool_folder(self) -> Path:
        """The folder of what the collector has taken and has not landed yet, mode 0700."""
        return self.home / "spool"

    @property
    def bus_folder(self) -> Path:
        """The folder of the event bus' outbox."""
        return self.home / "bus"

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
    def live_folder(self) -> Path:
        """The folder of what queries of events that are not built yet go by, mode 0700."""
        return self.home / "live"

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
