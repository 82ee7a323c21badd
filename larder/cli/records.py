"""The commands about single records and people: dead letters and erasure."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import click

from larder.cli.group import DONE, FAILED, larder, now, output, require_account
from larder.reporting import SHOWN_OF_DEAD_LETTERS, print_dead_letters, print_erasure
from larder.settings import Settings
from loaders.entities import Domain


@larder.command("dead-letters")
@click.option("--entity", help="Only of this <source>/<entity>.")
@click.option("--reason", help="Only with this reason.")
@click.option(
    "--format",
    "shown_as",
    type=click.Choice(["table", "csv", "ndjson"]),
    default="table",
    show_default=True,
    help="ndjson has the originals, to be mended and driven in again.",
)
@click.option("--all", "with_redriven", is_flag=True, help="Also what was driven in again.")
@click.pass_obj
def dead_letters_command(
    settings: Settings, entity: str | None, reason: str | None, shown_as: str, with_redriven: bool
) -> int:
    """List what could not be taken: where it stands, why, and the original."""
    from loaders.dead_letters import dead_letters

    letters = dead_letters(settings, entity, reason, with_redriven=with_redriven)
    if shown_as == "ndjson":
        for letter in letters:
            click.echo(json.dumps(letter.to_dict(), ensure_ascii=False))
    elif shown_as == "csv":
        # Without the originals: those are whole records, often with commas, quotes and persons.
        writer = csv.writer(sys.stdout)
        writer.writerow(SHOWN_OF_DEAD_LETTERS)
        writer.writerows(
            [getattr(letter, name) for name in SHOWN_OF_DEAD_LETTERS] for letter in letters
        )
    else:
        print_dead_letters(output, letters, is_choice=bool(entity or reason))
    return DONE


@larder.command("redrive")
@click.argument("file", type=click.Path(path_type=Path))
@click.pass_obj
def redrive_command(settings: Settings, file: Path) -> int:
    """Take corrected dead letters (NDJSON) back in; the next load reads them."""
    from loaders.dead_letters import redrive

    driven = redrive(settings, file)
    output.print(
        f"{driven.records:,} records in {driven.files:,} new files"
        f"{f', {driven.known:,} had been driven in before' if driven.known else ''}; "
        "larder run takes them in.",
        highlight=False,
    )
    return DONE


@larder.command("erase")
@click.argument("person_id", metavar="ID")
@click.option("--driver", "domain", flag_value="driver", help="The id is a driver's.")
@click.option("--patient", "domain", flag_value="health", help="The id is a patient's.")
@click.option("--visitor", "domain", flag_value="visitor", help="The id is a visitor's of menus.")
@click.pass_obj
def erase_command(settings: Settings, person_id: str, domain: Domain | None) -> int:
    """Remove a customer from everything there is, and search it all to prove that."""
    from larder.backup.reporting import print_backup
    from larder.erasure import erase_everywhere, withdraw_from_backup

    require_account(settings)
    erasure = erase_everywhere(settings, person_id, now, domain or "commerce")
    print_erasure(output, erasure)
    withdrawn = withdraw_from_backup(settings, now)
    if withdrawn is not None:
        print_backup(output, settings, withdrawn)
    return DONE if erasure.is_proven and not erasure.unsearchable else FAILED
