"""The command line: thin, every command calls one function and prints what it returns."""

from __future__ import annotations

import sys

import click

# each adds its commands to the group
from larder.cli import answers, jobs, operating, records, sending  # noqa: F401
from larder.cli.group import DONE, FAILED, WRONG_USE, larder, messages
from larder.errors import LarderError

__all__ = ["DONE", "FAILED", "WRONG_USE", "larder", "main"]


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
