"""One run at a time: a lock on the home folder that the kernel releases when its holder dies."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from larder.errors import SettingsError, WarehouseBusyError
from larder.settings import Settings

POLL_SECONDS = 0.1
# A probe (`current_holder`) takes the lock for microseconds; three tries outlive it even when
# the caller does not want to wait at all.
LEAST_ATTEMPTS = 3

_held_descriptors: set[int] = set()


@dataclass(frozen=True)
class LockHolder:
    """Say who holds a lock; unknown parts are null while the holder is still writing them."""

    pid: int | None = None
    command: str | None = None
    host: str | None = None
    since: datetime | None = None

    def __str__(self) -> str:
        if self.pid is None:
            return "another run that has only just started"
        since = self.since.isoformat(timespec="seconds") if self.since else "an unknown time"
        return f"`{self.command}` (process {self.pid} on {self.host}, since {since})"

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        return {**asdict(self), "since": self.since.isoformat() if self.since else None}


OnWait = Callable[[LockHolder, float], None]


@contextmanager
def run_lock(
    settings: Settings,
    command: str,
    on_wait: OnWait | None = None,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Hold the lock of `LARDER_HOME` for the time of a run.

    `command` is shown to others: give the command's name, never its arguments (they may be
    personal). `on_wait` is called with the holder and the seconds that this run will still wait,
    once when waiting starts and again whenever somebody else took over.

    Raises:
        SettingsError: the home folder cannot be made.
        WarehouseBusyError: the lock was not free within `lock_wait_seconds`; says who holds it.
    """
    path = lock_path(settings)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"LARDER_HOME: {settings.home} cannot be made ({error.strerror}). Name a folder that "
            "this user may write and run again."
        ) from None
    with hold(path, command, settings.lock_wait_seconds, on_wait, now=now, pause=pause):
        yield


def lock_path(settings: Settings) -> Path:
    """Return the lock file of the home folder."""
    return settings.home / "run.lock"


def current_holder(settings: Settings) -> LockHolder | None:
    """Return who is running now, or null when nobody is. Never waits."""
    try:
        descriptor = os.open(lock_path(settings), os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_holder(descriptor)
    else:
        return None
    finally:
        os.close(descriptor)


@contextmanager
def hold(
    path: Path,
    command: str,
    wait_seconds: float,
    on_wait: OnWait | None = None,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Hold the lock file at `path`, which is made when absent and never removed.

    Raises:
        WarehouseBusyError: not free within `wait_seconds`.
    """
    _close_in_children()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    _held_descriptors.add(descriptor)
    try:
        _acquire(descriptor, path, wait_seconds, on_wait, pause)
        holder = LockHolder(os.getpid(), command, socket.gethostname(), now())
        content = json.dumps(holder.to_dict()).encode()
        os.pwrite(descriptor, content, 0)
        os.ftruncate(descriptor, len(content))
        try:
            yield
        finally:
            os.ftruncate(descriptor, 0)
    finally:
        _held_descriptors.discard(descriptor)
        os.close(descriptor)


def _acquire(
    descriptor: int,
    path: Path,
    wait_seconds: float,
    on_wait: OnWait | None,
    pause: Callable[[float], None],
) -> None:
    waited, attempts, reported = 0.0, 0, None
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        attempts += 1
        holder = _read_holder(descriptor)
        if waited >= wait_seconds and attempts >= LEAST_ATTEMPTS:
            raise WarehouseBusyError(
                f"{path} is held by {holder}, and was not free after {wait_seconds:g} s. Run again "
                "when that run has ended, or let LARDER_LOCK_WAIT_SECONDS allow a longer wait."
            )
        is_worth_saying = holder.pid is not None or attempts >= LEAST_ATTEMPTS
        if on_wait is not None and is_worth_saying and holder != reported:
            on_wait(holder, max(wait_seconds - waited, 0.0))
            reported = holder
        pause(POLL_SECONDS)
        waited += POLL_SECONDS


def _read_holder(descriptor: int) -> LockHolder:
    try:
        content = json.loads(os.pread(descriptor, 4096, 0))
        since = datetime.fromisoformat(content["since"])
        return LockHolder(content["pid"], content["command"], content["host"], since)
    except (ValueError, KeyError, TypeError):
        return LockHolder()


@cache
def _close_in_children() -> None:
    """Keep forked children from holding the lock on; started programs never get it (O_CLOEXEC)."""

    def close_all() -> None:
        for descriptor in _held_descriptors:
            with suppress(OSError):
                os.close(descriptor)
        _held_descriptors.clear()

    os.register_at_fork(after_in_child=close_all)
