"""The command line: thin, every command calls one function and prints what it returns."""

from __future__ import annotations

import errno
import sys

import click

# each adds its commands to the group
from larder.cli import answers, jobs, operating, records, sending  # noqa: F401
from larder.cli.group import DONE, FAILED, WRONG_USE, larder, messages
from larder.errors import LarderError

__all__ = ["DONE", "FAILED", "WRONG_USE", "larder", "main"]

# What a machine refuses, whatever is asked of it: neither we nor the command are wrong.
REFUSALS = {
    errno.ENOSPC: "Make room",
    errno.EDQUOT: "Make room",
    errno.EROFS: "Let LARDER_HOME be on a disk that can be written",
    errno.EACCES: "Run as the user who owns it, or let LARDER_HOME be a folder of this one",
    errno.EPERM: "Run as the user who owns it, or let LARDER_HOME be a folder of this one",
    errno.ENOTDIR: "Let LARDER_HOME be a folder",
}


def main() -> None:
    """Run the command line; a user's mistake is a sentence, our own bug keeps its traceback."""
    try:
        sys.exit(larder.main(standalone_mode=False) or DONE)
    except click.ClickException as error:
        error.show()
        sys.exit(WRONG_USE)
    except click.Abort:
        messages.print("Stopped; what was finished stays, the next run goes on from there.")
        sys.exit(FAILED)
    except LarderError as error:
        messages.print(f"[red]error:[/red] {error}", highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        messages.print(
            f"[red]error:[/red] {error.filename or 'A file'} could not be used: {error.strerror}. "
            f"{REFUSALS[error.errno]}, and run again.",
            highlight=False,
            soft_wrap=True,
        )
        sys.exit(FAILED)
