"""Say how the warehouse stands: what is published, who is running, how much disk it takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from larder.lock import LockHolder, current_holder
from larder.serving.generations import generations
from larder.serving.publish import Publication
from larder.settings import Settings


@dataclass(frozen=True)
class LandingState:
    """Say what lies in the landing zone: the newest file, its time in UTC, what is not loaded.

    `bucket_bytes` is its size where it is in S3; of a folder it is among the sizes of the status.
    """

    newest_file: str | None
    newest_at: datetime | None
    files_not_loaded: int
    bucket_bytes: int | None = None


@dataclass(frozen=True)
class BusState:
    """Say how the event bus stands: where it is, what waits for it, what it has taken and refused.

    Counts are since its outbox was made, instants in UTC; `failure` says why nothing was taken the
    last time, null where that was not so.
    """

    place: str
    waiting: int
    oldest_waiting_at: datetime | None
    set_aside: int
    sent: int
    failures: int
    last_sent_at: datetime | None
    failure: str | None


@dataclass(frozen=True)
class Status:
    """Describe the warehouse; sizes in bytes by part of it, each part null-free.

    `earlier_generations` can be gone back to, `withdrawn_generations` were gone back from.
    `landing` and `bus` are for the caller to fill (`dataclasses.replace`): reading them is the
    loaders' business.
    """

    home: Path
    published: Publication | None
    earlier_generations: tuple[str, ...]
    withdrawn_generations: tuple[str, ...]
    running: LockHolder | None
    size_bytes: dict[str, int]
    landing: LandingState | None = None
    bus: BusState | None = None

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        return {
            "home": str(self.home),
            "published": self.published.to_dict() if self.published else None,
            "earlier_generations": list(self.earlier_generations),
            "withdrawn_generations": list(self.withdrawn_generations),
            "running": self.running.to_dict() if self.running else None,
            "size_bytes": dict(self.size_bytes),
            "landing": _plain(self.landing),
            "bus": _plain(self.bus),
        }


def _plain(state: LandingState | BusState | None) -> dict[str, object] | None:
    """Return plain values for JSON, instants in ISO 8601."""
    if state is None:
        return None
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in asdict(state).items()
    }


def status(settings: Settings) -> Status:
    """Read how the warehouse stands, also when nothing is published or somebody is running."""
    engine = generations(settings)
    names = engine.list_generations(settings)
    present = engine.published_generation(settings)
    if present not in names:
        present = None
    return Status(
        home=settings.home,
        published=engine.describe_generation(settings, present) if present else None,
        earlier_generations=tuple(name for name in names if present and name < present),
        withdrawn_generations=tuple(name for name in names if present and name > present),
        running=current_holder(settings),
        size_bytes=sizes(settings),
    )


def sizes(settings: Settings) -> dict[str, int]:
    """Add up the bytes of each part of the home folder."""
    parts = {
        **({} if settings.landing_bucket else {"landing": settings.landing_folder}),
        "raw": settings.raw_folder,
        "audit": settings.audit_folder,
        "build": settings.build_database,
        "generations": settings.generations_folder,
        "logs": settings.logs_folder,
    }
    return {name: sum(_file_sizes(path)) for name, path in parts.items()}


def _file_sizes(path: Path) -> Iterator[int]:
    """Yield the sizes of the files under a path; files may vanish while it looks."""
    for file in [path] if path.is_file() else path.rglob("*"):
        try:
            if file.is_file():
                yield file.stat().st_size
        except FileNotFoundError:
            continue
