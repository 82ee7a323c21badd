"""The command line: thin, every command calls one function and prints what it returns."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
from rich.console import Console

from larder import __version__
from larder.errors import LandingError, LarderError, SettingsError, UsageError
from larder.lock import LockHolder, run_lock
from larder.reporting import (
    SHOWN_OF_DEAD_LETTERS,
    Reporter,
    print_arrivals,
    print_audit,
    print_build,
    print_dead_letters,
    print_erasure,
    print_held,
    print_load,
    print_proof,
    print_run,
    print_status,
    print_training,
    print_upload,
)
from larder.settings import Settings, read_settings

if TYPE_CHECKING:
    from larder.metrics.recording import StartStep
    from larder.pipeline import RunReport

DONE, FAILED, WRONG_USE = 0, LarderError.exit_code, UsageError.exit_code

# Without a terminal (a log, a pipe) rich would take 80 columns, too few for a table of reasons.
PLAIN_WIDTH = 132
output = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH)
messages = Console(stderr=True, width=None if sys.stderr.isatty() else PLAIN_WIDTH)


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


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.pass_context
def larder(context: click.Context) -> None:
    """Turn what a fresh-food network reports into tables that people decide with."""
    if context.resilient_parsing:
        return
    context.obj = context.obj or read_settings()


def _now() -> datetime:
    return datetime.now(UTC)


def _say_waiting(holder: LockHolder, seconds: float) -> None:
    messages.print(f"Waiting up to {seconds:.0f} s for {holder}.", highlight=False)


def _locked(settings: Settings, command: str) -> AbstractContextManager[None]:
    return run_lock(settings, command, _say_waiting)


def _recorded(
    settings: Settings, command: str, report: RunReport
) -> AbstractContextManager[Callable[[StartStep], StartStep]]:
    from larder.metrics import record

    def warn(words: str) -> None:
        messages.print(f"[yellow]warning:[/yellow] {words}", highlight=False, soft_wrap=True)

    return record(settings, command, report, _now, warn)


def _require_account(settings: Settings) -> None:
    """Refuse before anything is done what would need an account in the end."""
    if settings.target == "prod":
        from larder.snowflake import require_settings

        require_settings(settings)


def _require_duckdb(settings: Settings, command: str) -> None:
    if settings.target == "prod":
        raise SettingsError(
            f"LARDER_TARGET is prod, but `larder {command}` only works on DuckDB yet. Unset "
            "LARDER_TARGET to run it there."
        )


def _require_own_backup(settings: Settings) -> None:
    if settings.target == "prod":
        raise SettingsError(
            "LARDER_TARGET is prod: Snowflake keeps and replicates its own data (Time Travel, "
            "failover groups). Unset LARDER_TARGET to back up or restore a home folder."
        )


def _require_days(days: int) -> None:
    if days < 1:
        raise UsageError("--days must be at least 1.")


@larder.command()
@click.option("--days", default=200, show_default=True, help="Days of history.")
@click.option("--locations", default=35, show_default=True, help="Places that sell.")
@click.option("--items-per-product", default=8, show_default=True, help="Meals per bakery product.")
@click.option("--seed", default=7, show_default=True, help="Same seed, same bytes.")
@click.option("--scale", default=1.0, show_default=True, help="Demand, as a multiple.")
@click.pass_obj
def sample(
    settings: Settings, days: int, locations: int, items_per_product: int, seed: int, scale: float
) -> int:
    """Write the sample network into the landing zone."""
    from loaders.sample.network import SampleOptions, write_sample_network

    options = SampleOptions(days, locations, items_per_product, seed, scale)
    with Reporter(messages) as reporter:
        made = write_sample_network(
            settings.landing_folder, settings.truth_folder, options, reporter.start("sample")
        )
    if made.was_there:
        output.print(f"The sample network is already in {settings.landing_folder}.")
    else:
        output.print(
            f"{made.stock_events:,} stock events from {made.first_date} to {made.last_date} in "
            f"{made.files} files below {settings.landing_folder}; the planted truth is in "
            f"{settings.truth_folder}.",
            highlight=False,
            soft_wrap=True,
        )
    return DONE


@larder.command("load")
@click.option("--follow", "is_following", is_flag=True, help="Then load what arrives, until told.")
@click.option("--singer", "is_singer", is_flag=True, help="Load the stream on standard input.")
@click.pass_obj
def load_command(settings: Settings, is_following: bool, is_singer: bool) -> int:
    """Turn every new file of the landing zone into a raw segment.

    With --singer only what a Singer tap writes to standard input; its states go to standard output
    when all before them is safe.
    """
    from larder.pipeline import RunReport, upload_raw
    from loaders.load import load

    _require_account(settings)
    if is_following and is_singer:
        raise UsageError("--follow and --singer are two commands; run them side by side.")
    if is_singer:
        from loaders.singer import load_singer

        load_singer(settings, _now, sys.stdin.fileno(), click.echo, _say_to(messages))
        with Reporter(messages) as reporter:
            upload_raw(settings, _now, reporter.start)
        return DONE
    if is_following:
        return _follow(settings)
    report = RunReport()
    with _recorded(settings, "load", report) as timed, Reporter(messages) as reporter:
        start = timed(reporter.start)
        report.load = load(settings, _now, start("load"))
        report.upload = upload_raw(settings, _now, start)
    print_load(output, report.load)
    print_upload(output, report.upload)
    return FAILED if report.load.failures else DONE


def _say_to(console: Console) -> Callable[[str], None]:
    def say(line: str) -> None:
        moment = _now().isoformat(timespec="seconds").replace("+00:00", "Z")
        console.print(f"{moment} {line}", highlight=False, markup=False, soft_wrap=True)

    return say


def _follow(settings: Settings) -> int:
    from larder.pipeline import upload_raw
    from larder.stopping import stopping_on_signals
    from loaders.follow import follow

    say = _say_to(output)

    def send() -> None:
        with Reporter(messages) as reporter:
            upload_raw(settings, _now, reporter.start)

    with stopping_on_signals() as stopping:
        say("following the landing zone")
        follow(settings, _now, say, stopping, send)
    say("ended")
    return DONE


@larder.command()
@click.pass_obj
def run(settings: Settings) -> int:
    """Load, audit, build, test and publish; then say what a manager wants to know."""
    from larder.pipeline import RunReport
    from larder.pipeline import run as run_pipeline
    from larder.summary import print_summary, summarise

    _require_account(settings)
    report = RunReport()
    try:
        with (
            _recorded(settings, "run", report) as timed,
            _locked(settings, "larder run"),
            Reporter(messages) as reporter,
        ):
            run_pipeline(settings, _now, timed(reporter.start), report)
    except LarderError:
        print_arrivals(output, report)
        raise
    print_summary(output, summarise(settings))
    print_run(output, settings, report)
    is_whole = not (report.load and report.load.failures)
    return FAILED if not is_whole or (report.audit and report.audit.is_held) else DONE


@larder.command("audit")
@click.option("--held", "show_held", is_flag=True, help="Only list what is kept out of the build.")
@click.option("--release", "pattern", help="Accept a held batch, entity or segment (* for any).")
@click.option("--reason", default="", help="Why it may be released; kept with the verdict.")
@click.pass_obj
def audit_command(settings: Settings, show_held: bool, pattern: str | None, reason: str) -> int:
    """Judge what was loaded since the last audit; keep out of the build what fails."""
    from loaders.audit import audit, list_held, release

    if pattern is not None:
        released = release(settings, pattern, reason, _now)
        output.print(f"{len(released)} segments released; the next build takes them.")
        return DONE
    if not show_held:
        with Reporter(messages) as reporter:
            summary = audit(settings, _now, reporter.start("audit"))
        print_audit(output, summary)
    held = list_held(settings)
    print_held(output, held)
    return FAILED if held else DONE


@larder.command("build")
@click.option("--full-refresh", is_flag=True, help="Compute every table anew.")
@click.pass_obj
def build_command(settings: Settings, full_refresh: bool) -> int:
    """Build and test every model over what the audits accepted."""
    from larder.build import build
    from larder.pipeline import RunReport, upload_raw
    from loaders.audit import list_held

    _require_account(settings)
    with (
        _recorded(settings, "build", RunReport()) as timed,
        _locked(settings, "larder build"),
        Reporter(messages) as reporter,
    ):
        start = timed(reporter.start)
        upload_raw(settings, _now, start)
        held = [segment.segment for segment in list_held(settings)]
        result = build(
            settings,
            held,
            only_audited=True,
            full_refresh=full_refresh,
            progress=start("build and test"),
        )
    print_build(output, result)
    return DONE


@larder.command("train")
@click.pass_obj
def train_command(settings: Settings) -> int:
    """Train the models now, test them, and let the new ones serve if they are better; publish."""
    from larder.pipeline import RunReport, train

    _require_account(settings)
    with (
        _recorded(settings, "train", RunReport()) as timed,
        _locked(settings, "larder train"),
        Reporter(messages) as reporter,
    ):
        trained = train(settings, _now, timed(reporter.start))
    print_training(output, trained)
    return DONE


@larder.command("backtest")
@click.option("--days", default=60, show_default=True, help="Replay so many days, the newest.")
@click.option("--format", "shown_as", type=click.Choice(["table", "json"]), default="table")
@click.pass_obj
def backtest_command(settings: Settings, days: int, shown_as: str) -> int:
    """Replay your own past under the plan: waste, empty shelves and cost against what was done."""
    from larder.backtest import prove

    _require_duckdb(settings, "backtest")
    _require_days(days)
    with _locked(settings, "larder backtest"), Reporter(messages) as reporter:
        proof = prove(settings, days, reporter.start("backtest"))
    if shown_as == "json":
        click.echo(json.dumps(proof.to_dict(), ensure_ascii=False, indent=2))
    else:
        print_proof(output, proof)
    return DONE


@larder.command("report")
@click.option("--days", default=60, show_default=True, help="Judge by so many days, the newest.")
@click.pass_obj
def report_command(settings: Settings, days: int) -> int:
    """Write a page that shows how good the scores are on your own past."""
    from larder.report import write_report

    _require_duckdb(settings, "report")
    _require_days(days)
    with _locked(settings, "larder report"), Reporter(messages) as reporter:
        page = write_report(settings, days, reporter.start("report"))
    output.print(f"The report is in {page}", highlight=False, soft_wrap=True)
    return DONE


@larder.command("publish")
@click.pass_obj
def publish_command(settings: Settings) -> int:
    """Copy the marts of the last build into a new generation and point readers to it."""
    from larder.pipeline import RunReport, publish_build

    _require_account(settings)
    report = RunReport()
    with (
        _recorded(settings, "publish", report) as timed,
        _locked(settings, "larder publish"),
        Reporter(messages) as reporter,
    ):
        timed(reporter.start)("publish")
        publication = report.publication = publish_build(settings, _now)
    output.print(f"Published generation {publication.generation}.", highlight=False)
    return DONE


@larder.command("rollback")
@click.pass_obj
def rollback_command(settings: Settings) -> int:
    """Point readers back to the generation before."""
    from larder.pipeline import roll_back

    with _locked(settings, "larder rollback"):
        publication = roll_back(settings)
    output.print(
        f"Readers are back on generation {publication.generation}; it was {publication.replaced}.",
        highlight=False,
    )
    return DONE


@larder.command("status")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def status_command(settings: Settings, as_json: bool) -> int:
    """Say what is published, who is running and what waits in the landing zone."""
    from larder.pipeline import landing_state
    from larder.serving.status import status

    found, trouble = status(settings), None
    try:
        found = replace(found, landing=landing_state(settings))
    except LandingError as error:  # all the rest can be said, and is wanted most then
        trouble = error
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=2))
    else:
        print_status(output, found)
    if trouble:
        raise trouble
    return DONE


@larder.command("compare")
@click.pass_obj
def compare_command(settings: Settings) -> int:
    """Compare what is published on Snowflake with what is published here on DuckDB."""
    from larder.serving.compare import compare

    comparison = compare(settings)
    for difference in comparison.differences:
        output.print(str(difference), highlight=False, soft_wrap=True, markup=False)
    output.print(
        f"{comparison.tables} tables with {comparison.rows:,} rows compared, "
        f"{len(comparison.differences) or 'no'} differences.",
        highlight=False,
    )
    return FAILED if comparison.differences else DONE


@larder.command("docs")
@click.pass_obj
def docs_command(settings: Settings) -> int:
    """Write the documentation of every table, with lineage, as one static page."""
    from larder.build import write_docs

    _require_account(settings)
    with _locked(settings, "larder docs"):
        page = write_docs(settings)
    output.print(f"The documentation is in {page}", highlight=False, soft_wrap=True)
    return DONE


@larder.command()
@click.argument("sql", required=False)
@click.option("--analysis", help="A saved question; `--analysis list` shows them.")
@click.option("--format", "shown_as", type=click.Choice(["table", "csv", "json"]), default="table")
@click.pass_obj
def query(settings: Settings, sql: str | None, analysis: str | None, shown_as: str) -> int:
    """Ask the published marts something, read-only."""
    from larder.serving import reading

    if (sql is None) == (analysis is None):
        raise click.UsageError("Give either a query in quotes or --analysis NAME.")
    if analysis == "list":
        for name, file in sorted(reading.list_analyses().items()):
            click.echo(f"{name:32} {reading.question_of(file)}")
        return DONE
    text = sql if analysis is None else reading.saved_analysis(settings, analysis)
    assert text is not None
    if shown_as == "table":
        result = reading.run_query(settings, text, limit=reading.SHOWN_ROWS)
        table = reading.as_table(result)
        is_wide = output.measure(table).maximum > output.width
        output.print(reading.as_records(result) if is_wide else table)
    else:
        result = reading.run_query(settings, text)
        render: Callable[[reading.QueryResult], str] = (
            reading.as_csv if shown_as == "csv" else reading.as_json
        )
        click.echo(render(result), nl=False)
    return DONE


@larder.command()
@click.argument("table")
@click.option("--from", "date_from", type=click.DateTime(["%Y-%m-%d"]), help="First day.")
@click.option("--to", "date_to", type=click.DateTime(["%Y-%m-%d"]), help="Last day.")
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["csv", "parquet", "ndjson", "json"]),
    default="csv",
    show_default=True,
)
@click.option("--output", "destination", type=click.Path(path_type=Path), help="The file to write.")
@click.pass_obj
def export(
    settings: Settings,
    table: str,
    date_from: datetime | None,
    date_to: datetime | None,
    file_format: Literal["csv", "parquet", "ndjson", "json"],
    destination: Path | None,
) -> int:
    """Write a published table to a file."""
    from larder.serving.reading import export_table

    _require_duckdb(settings, "export")

    def day(moment: datetime | None) -> date | None:
        return moment.date() if moment else None

    made = export_table(
        settings,
        table,
        destination or Path(f"{table}.{file_format}"),
        file_format,
        date_from=day(date_from),
        date_to=day(date_to),
    )
    chosen = f" by {made.date_column}" if made.date_column and (date_from or date_to) else ""
    output.print(f"{made.rows:,} rows of {made.table}{chosen} in {made.path}", highlight=False)
    return DONE


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
@click.argument("customer_id")
@click.pass_obj
def erase_command(settings: Settings, customer_id: str) -> int:
    """Remove a person from everything there is, and search it all to prove that."""
    from larder.backup.reporting import print_backup
    from larder.erasure import erase_everywhere, withdraw_from_backup

    _require_duckdb(settings, "erase")
    erasure = erase_everywhere(settings, customer_id, _now)
    print_erasure(output, erasure)
    withdrawn = withdraw_from_backup(settings, _now)
    if withdrawn is not None:
        print_backup(output, settings, withdrawn)
    return DONE if erasure.is_proven and not erasure.unsearchable else FAILED


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

    _require_own_backup(settings)
    if is_list:
        print_snapshots(output, list_snapshots(settings))
        return DONE
    with Reporter(messages) as reporter:
        reporter.start("backup")
        made = back_up(settings, _now, verify=verify, on_wait=_say_waiting)
    print_backup(output, settings, made)
    return DONE


@larder.command("restore")
@click.option("--snapshot", help="Not the newest one but this; `larder backup --list` shows them.")
@click.pass_obj
def restore_command(settings: Settings, snapshot: str | None) -> int:
    """Bring an empty LARDER_HOME back from the backup; who was erased stays erased."""
    from larder.backup.reporting import print_restored
    from larder.backup.restoring import restore

    _require_own_backup(settings)
    with Reporter(messages) as reporter:
        reporter.start("restore")
        restored = restore(settings, _now, snapshot)
    print_restored(output, settings, restored)
    unsearchable = restored.erasure.unsearchable if restored.erasure else []
    return FAILED if unsearchable else DONE
