"""The commands of whoever operates an installation: deploy, backup, restore."""

from __future__ import annotations

import click

from larder.cli.group import DONE, FAILED, larder, messages, now, output, say_waiting
from larder.reporting import Reporter
from larder.settings import Settings


@larder.command("deploy")
@click.option("--dry-run", is_flag=True, help="Print every statement in order; apply none.")
@click.option("--second-region", is_flag=True, help="Set up the account that takes the copy.")
@click.pass_obj
def deploy_command(settings: Settings, dry_run: bool, second_region: bool) -> int:
    """Set up Snowflake, see that all personal data is masked, and stage what models import."""
    from larder import snowflake
    from larder.deploy.applying import deploy, make_plan
    from larder.deploy.reporting import plan_lines, report_lines

    plan = make_plan(settings, second_region=second_region)
    if dry_run:
        click.echo("\n".join(plan_lines(plan)))
        return DONE
    with (
        snowflake.open_account(settings) as connection,
        Reporter(messages) as reporter,
    ):
        deployment = deploy(plan, connection, progress=reporter.start("deploy"))
    click.echo("\n".join(report_lines(deployment)))
    return DONE


@larder.command("backup")
@click.option("--verify", is_flag=True, help="Read all data back, not only a part of it.")
@click.option("--list", "is_list", is_flag=True, help="Only list what could be restored.")
@click.pass_obj
def backup_command(settings: Settings, verify: bool, is_list: bool) -> int:
    """Keep landing, raw, vault and generations in a second place, encrypted and checked."""
    from larder.backup.reporting import print_backup, print_snapshots
    from larder.backup.taking import back_up, list_snapshots

    if is_list:
        print_snapshots(output, list_snapshots(settings))
        return DONE
    with Reporter(messages) as reporter:
        reporter.start("backup")
        made = back_up(settings, now, verify=verify, on_wait=say_waiting)
    print_backup(output, settings, made)
    return DONE


@larder.command("restore")
@click.option("--snapshot", help="Not the newest one but this; `larder backup --list` shows them.")
@click.pass_obj
def restore_command(settings: Settings, snapshot: str | None) -> int:
    """Bring an empty LARDER_HOME back from the backup; who was erased stays erased."""
    from larder.backup.reporting import print_restored
    from larder.backup.restoring import restore

    with Reporter(messages) as reporter:
        reporter.start("restore")
        restored = restore(settings, now, snapshot)
    print_restored(output, settings, restored)
    unsearchable = restored.erasure.unsearchable if restored.erasure else []
    return FAILED if unsearchable else DONE
