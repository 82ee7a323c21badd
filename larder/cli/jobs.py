"""The commands that bring data in, build it and publish it."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from larder.cli.group import (
    DONE,
    FAILED,
    larder,
    locked,
    messages,
    now,
    output,
    recorded,
    require_account,
    say_to,
)
from larder.errors import LarderError, UsageError
from larder.reporting import (
    Reporter,
    print_arrivals,
    print_audit,
    print_build,
    print_bus,
    print_held,
    print_load,
    print_run,
    print_training,
    print_upload,
)
from larder.settings import Settings

PEM = click.Path(exists=True, dir_okay=False, path_type=Path)


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
    from loaders.bus import Publisher
    from loaders.load import load

    require_account(settings)
    if is_following and is_singer:
        raise UsageError("--follow and --singer are two commands; run them side by side.")
    if is_singer:
        from loaders.singer import load_singer

        publisher = Publisher(settings, now, say_to(messages))
        try:
            load_singer(settings, now, sys.stdin.fileno(), click.echo, say_to(messages))
            publisher.publish()
        finally:
            publisher.close()
        with Reporter(messages) as reporter:
            upload_raw(settings, now, reporter.start)
        return DONE
    if is_following:
        return _follow(settings)
    report = RunReport()
    with recorded(settings, "load", report) as timed, Reporter(messages) as reporter:
        start = timed(reporter.start)
        publisher = Publisher(settings, now)
        try:
            report.load = load(settings, now, start("load"))
            publisher.publish()
            report.upload = upload_raw(settings, now, start)
        finally:
            report.bus = publisher.close()
    print_load(output, report.load)
    print_bus(output, report.bus)
    print_upload(output, report.upload)
    return FAILED if report.load.failures else DONE


def _follow(settings: Settings) -> int:
    from larder.live_models import Preparation
    from larder.metrics import record_bus
    from larder.pipeline import upload_raw
    from larder.stopping import stopping_on_signals
    from loaders.bus import Publisher
    from loaders.follow import follow

    say = say_to(output)

    def send() -> None:
        publisher.publish()
        with Reporter(messages) as reporter:
            upload_raw(settings, now, reporter.start)

    with stopping_on_signals() as stopping:
        say("following the landing zone")
        # else the first who asks for schema live would wait for that; a bug there is seen at once
        preparation = Preparation(settings, say, stopping.ask)
        try:
            publisher = Publisher(settings, now, say, lambda: record_bus(settings, say))
            try:
                publisher.publish()  # what a killed load has left
                follow(settings, now, say, stopping, send)
            finally:
                publisher.close()
        finally:
            preparation.end()
    say("ended")
    return DONE


@larder.command("collect")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8470,
    show_default=True,
    help="Where to listen; 0: any that is free.",
)
@click.option("--certificate", type=PEM, help="For TLS: the chain, PEM.")
@click.option("--private-key", type=PEM, help="For TLS: its key, PEM.")
@click.option(
    "--rate",
    type=click.FloatRange(min=0),
    default=0.0,
    help="Events a second that a sender may send; 0: any.",
)
@click.option("--demo", is_flag=True, help="Also serve a menu to try, at /menu.")
@click.pass_obj
def collect_command(
    settings: Settings,
    host: str,
    port: int,
    certificate: Path | None,
    private_key: Path | None,
    rate: float,
    demo: bool,
) -> int:
    """Take events over HTTP; each is durable before it is acknowledged, and lands in seconds."""
    from loaders.collector.serving import Listening, collect

    listening = Listening(host, port, certificate, private_key, rate, demo)
    collect(settings, listening, say_to(messages))
    return DONE


@larder.command()
@click.pass_obj
def run(settings: Settings) -> int:
    """Load, audit, build, test and publish; then say what a manager wants to know."""
    from larder.pipeline import RunReport
    from larder.pipeline import run as run_pipeline
    from larder.summary import print_summary, summarise

    require_account(settings)
    report = RunReport()
    try:
        with (
            recorded(settings, "run", report) as timed,
            locked(settings, "larder run"),
            Reporter(messages) as reporter,
        ):
            run_pipeline(settings, now, timed(reporter.start), report)
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
        released = release(settings, pattern, reason, now)
        output.print(f"{len(released)} segments released; the next build takes them.")
        return DONE
    if not show_held:
        with Reporter(messages) as reporter:
            summary = audit(settings, now, reporter.start("audit"))
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

    require_account(settings)
    with (
        recorded(settings, "build", RunReport()) as timed,
        locked(settings, "larder build"),
        Reporter(messages) as reporter,
    ):
        start = timed(reporter.start)
        upload_raw(settings, now, start)
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

    require_account(settings)
    with (
        recorded(settings, "train", RunReport()) as timed,
        locked(settings, "larder train"),
        Reporter(messages) as reporter,
    ):
        trained = train(settings, now, timed(reporter.start))
    print_training(output, trained)
    return DONE


@larder.command("publish")
@click.pass_obj
def publish_command(settings: Settings) -> int:
    """Copy the marts of the last build into a new generation and point readers to it."""
    from larder.pipeline import RunReport, publish_build

    require_account(settings)
    report = RunReport()
    with (
        recorded(settings, "publish", report) as timed,
        locked(settings, "larder publish"),
        Reporter(messages) as reporter,
    ):
        timed(reporter.start)("publish")
        publication = report.publication = publish_build(settings, now)
    output.print(f"Published generation {publication.generation}.", highlight=False)
    return DONE


@larder.command("rollback")
@click.pass_obj
def rollback_command(settings: Settings) -> int:
    """Point readers back to the generation before."""
    from larder.pipeline import RunReport, roll_back

    require_account(settings)
    report = RunReport()
    with (
        recorded(settings, "rollback", report) as timed,
        locked(settings, "larder rollback"),
        Reporter(messages) as reporter,
    ):
        timed(reporter.start)("rollback")
        publication = report.publication = roll_back(settings)
    output.print(
        f"Readers are back on generation {publication.generation}; it was {publication.replaced}.",
        highlight=False,
    )
    return DONE
