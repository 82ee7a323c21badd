"""What all commands share: the group, the two consoles, and what they may ask for first."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
from rich.console import Console

from larder import __version__
from larder.errors import LarderError, UsageError
from larder.lock import LockHolder, run_lock
from larder.settings import Settings, read_settings

if TYPE_CHECKING:
    from larder.metrics.recording import StartStep
    from larder.pipeline import RunReport

DONE, FAILED, WRONG_USE = 0, LarderError.exit_code, UsageError.exit_code

# Without a terminal (a log, a pipe) rich would take 80 columns, too few for a table of reasons.
PLAIN_WIDTH = 132
output = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH)
messages = Console(stderr=True, width=None if sys.stderr.isatty() else PLAIN_WIDTH)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.pass_context
def larder(context: click.Context) -> None:
    """Turn what a fresh-food network reports into tables that people decide with."""
    if context.resilient_parsing:
        return
    context.obj = context.obj or read_settings()


def now() -> datetime:
    """Return the moment, in UTC."""
    return datetime.now(UTC)


def say_waiting(holder: LockHolder, seconds: float) -> None:
    """Say whom a command waits for, and how long at most."""
    messages.print(f"Waiting up to {seconds:.0f} s for {holder}.", highlight=False)


def locked(settings: Settings, command: str) -> AbstractContextManager[None]:
    """Hold the lock of a run; who waits for it is told."""
    return run_lock(settings, command, say_waiting)


def recorded(
    settings: Settings, command: str, report: RunReport
) -> AbstractContextManager[Callable[[StartStep], StartStep]]:
    """Write the metrics of a command when it ends, however it ends; gives what times its steps."""
    from larder.metrics import record

    def warn(words: str) -> None:
        messages.print(f"[yellow]warning:[/yellow] {words}", highlight=False, soft_wrap=True)

    return record(settings, command, report, now, warn)


def say_to(console: Console) -> Callable[[str], None]:
    """Return what writes a line with its moment, for commands that stay."""

    def say(line: str) -> None:
        moment = now().isoformat(timespec="seconds").replace("+00:00", "Z")
        console.print(f"{moment} {line}", highlight=False, markup=False, soft_wrap=True)

    return say


def require_account(settings: Settings) -> None:
    """Refuse before anything is done what would need an account in the end."""
    if settings.target == "prod":
        from larder.snowflake import require_settings

        require_settings(settings)
