"""How the command line shows progress and results, with a terminal and without one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.table import Table

from larder.progress import Progress
from larder.settings import Settings
from larder.snowflake import PUBLISHED

if TYPE_CHECKING:
    from larder.backtest import Proof
    from larder.build import BuildResult
    from larder.pipeline import RunReport
    from larder.serving.status import BusState, Status
    from loaders.audit import AuditSummary, HeldSegment
    from loaders.bus import BusSummary
    from loaders.dead_letters import DeadLetter
    from loaders.erasing import Erasure
    from loaders.load import LoadSummary
    from loaders.upload import UploadSummary

SHOWN_OF_DEAD_LETTERS = (
    "source",
    "entity",
    "source_file",
    "line_number",
    "reason",
    "detail",
    "received_at",
)
SHOWN_OF_UNREAD = 20
# Without a terminal a line is printed at most so often.
PLAIN_SECONDS = 10.0


class Reporter:
    """Show the progress of long steps: a bar on a terminal, now and then a line without one."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._bars: Bars | None = None
        if console.is_terminal:
            self._bars = Bars(
                TextColumn("{task.fields[step]:>15}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.description}", style="dim"),
                console=console,
                transient=True,
            )

    def __enter__(self) -> Reporter:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bars:
            self._bars.stop()

    def start(self, step: str) -> Progress:
        """Begin a step and return what takes its progress."""
        bar: TaskID | None = None
        started = last = self._clock()
        if self._bars:
            bar = self._bars.add_task("", step=step, total=None)
        else:
            self._console.print(f"{step} …", highlight=False)

        def report(what: str, done: int, total: int) -> None:
            nonlocal last
            if self._bars and bar is not None:
                self._bars.update(bar, description=what, completed=done, total=total)
            elif self._clock() - last >= PLAIN_SECONDS:
                last = self._clock()
                self._console.print(
                    f"{step}: {done} of {total} after {last - started:.0f} s ({what})",
                    highlight=False,
                )

        return report


def print_load(console: Console, summary: LoadSummary) -> None:
    """Print what a load did, an entity a line."""
    table = Table(box=None)
    table.add_column("entity")
    for column in ("files", "records", "duplicates", "rejected", "seconds"):
        table.add_column(column, justify="right")
    for path, entity in sorted(summary.entities.items()):
        if entity.files:
            table.add_row(
                path,
                f"{entity.files:,}",
                f"{entity.records:,}",
                f"{entity.duplicates:,}",
                f"{entity.rejected:,}",
                f"{entity.seconds:.1f}",
            )
    console.print(table if table.row_count else "Nothing new.")
    if summary.waiting:
        console.print(
            f"{summary.waiting} files are still being written; the next load takes them.",
            highlight=False,
        )
    print_unread(console, summary)
    if summary.skipped:
        console.print(f"{summary.skipped} files were loaded already.", highlight=False)


def print_unread(console: Console, summary: LoadSummary) -> None:
    """Print which files could not be read this time, and why."""
    for unread in summary.unread[:SHOWN_OF_UNREAD]:
        colour = "red" if unread.is_failure else "yellow"
        console.print(
            f"[{colour}]not loaded:[/{colour}] {escape(unread.relative)}: {unread.why}. "
            "The next load tries again.",
            highlight=False,
            soft_wrap=True,
        )
    if len(summary.unread) > SHOWN_OF_UNREAD:
        console.print(f"… and {len(summary.unread) - SHOWN_OF_UNREAD:,} others.", highlight=False)


def print_bus(console: Console, bus: BusSummary | None) -> None:
    """Print what went over the event bus, and what waits; nothing where there was nothing."""
    if bus is None or not (bus.sent or bus.set_aside or bus.waiting or bus.failure):
        return
    parts = [f"{bus.sent:,} messages sent", f"{bus.waiting:,} wait"]
    if bus.set_aside:
        parts.append(f"{bus.set_aside:,} were too large and are set aside")
    console.print(f"event bus: {', '.join(parts)}.", highlight=False, soft_wrap=True)
    if bus.failure:
        console.print(
            f"[yellow]event bus:[/yellow] {escape(bus.failure)} What waits goes with the next "
            "load; nothing is lost.",
            highlight=False,
            soft_wrap=True,
        )


def print_training(console: Console, trained: Sequence[tuple[str, str]]) -> None:
    """Print which models were trained, and why they serve or not."""
    for version, decision in trained:
        console.print(f"{version}: {decision}.", highlight=False, soft_wrap=True)
    if not trained:
        console.print(
            "Nothing was trained: no place has four months of stock days yet, or the data are "
            "those of the last training. What served before goes on serving.",
            soft_wrap=True,
        )


def print_proof(console: Console, proof: Proof) -> None:
    """Print what the plan would have changed, and how sure that is."""
    past = proof.past
    first, last = past.date_of(past.first), past.date_of(past.panel.width - 1)
    console.print(
        f"The {proof.result.days} days from {first:%d %b %Y} to {last:%d %b %Y}, "
        f"{past.panel.size:,} items at {len(past.places):,} places, "
        "replayed twice on the same demand:",
        highlight=False,
        soft_wrap=True,
    )
    table = Table(box=None)
    table.add_column("")
    for column in ("as it was", "with the plan"):
        table.add_column(column, justify="right")
    for figures in proof.figures():
        table.add_row(*figures)
    console.print(table)
    for sentence in proof.sentences():
        console.print(sentence, highlight=False, soft_wrap=True)


def print_build(console: Console, result: BuildResult) -> None:
    """Print what a build did, and which tests warned."""
    console.print(
        f"{result.nodes} models and tests in {result.seconds:.0f} s, "
        + (f"{len(result.warnings)} warned." if result.warnings else "all well."),
        highlight=False,
    )
    for warning in result.warnings:
        console.print(
            f"[yellow]warning:[/yellow] {warning.name}: {warning.message}",
            highlight=False,
            soft_wrap=True,
        )


def print_run(console: Console, settings: Settings, report: RunReport) -> None:
    """Print what a run did and skipped, and where the results are."""
    console.print()
    print_arrivals(console, report)
    for skipped in report.skipped:
        console.print(f"skipped {skipped}", highlight=False, soft_wrap=True)
    if report.compaction and report.compaction.segments:
        console.print(
            f"{report.compaction.parts:,} small segments became {report.compaction.segments:,}.",
            highlight=False,
        )
    print_upload(console, report.upload)
    if report.build:
        print_build(console, report.build)
    is_local = settings.target != "prod"
    published = settings.published_database if is_local else f"{PUBLISHED} on Snowflake"
    console.print(f"published database  {published}", soft_wrap=True)
    console.print(f"documentation       {settings.docs_page}", soft_wrap=True)


def print_upload(console: Console, upload: UploadSummary | None) -> None:
    """Print what was sent to Snowflake; nothing on DuckDB."""
    if upload and upload.segments:
        console.print(
            f"{upload.records:,} records of {upload.segments:,} segments uploaded.",
            highlight=False,
        )


def print_arrivals(console: Console, report: RunReport) -> None:
    """Print what a run found of what arrived, also where its build then failed."""
    if report.load and (report.load.files or report.load.waiting or report.load.unread):
        print_load(console, report.load)
    print_bus(console, report.bus)
    if report.audit:
        print_audit(console, report.audit)
        if report.audit.held:
            print_held(console, report.audit.held)


def print_audit(console: Console, summary: AuditSummary) -> None:
    """Print what an audit found."""
    if summary.skipped:
        console.print(f"skipped audit: {summary.skipped}", highlight=False, soft_wrap=True)
    for warning in summary.warnings:
        console.print(f"[yellow]audit:[/yellow] {warning}", highlight=False, soft_wrap=True)
    for failure in summary.failures:
        console.print(f"[red]held:[/red] {failure}", highlight=False, soft_wrap=True)
    if summary.pages:
        console.print(f"audit of the data   {summary.pages}", highlight=False, soft_wrap=True)


def print_held(console: Console, held: Sequence[HeldSegment]) -> None:
    """Print what is kept out of the build, and how to let it in."""
    if not held:
        console.print("Nothing is held.")
        return
    table = Table(box=None)
    for column in ("batch", "entity", "held since (UTC)", "reason"):
        table.add_column(column, overflow="fold")
    for segment in held:
        since = f"{segment.held_since:%Y-%m-%d %H:%M}"
        table.add_row(segment.batch, segment.entity, since, segment.reason)
    console.print(table)
    console.print("To accept one all the same: larder audit --release BATCH --reason WHY.")


def print_dead_letters(console: Console, letters: Iterable[DeadLetter], *, is_choice: bool) -> None:
    """Print dead letters without their originals, which may hold persons.

    `is_choice` says that there may be others, of another entity or reason.
    """
    table = Table(box=None)
    for column in ("entity", "file", "line", "reason", "detail"):
        table.add_column(column, overflow="fold", justify="right" if column == "line" else "left")
    for letter in letters:
        table.add_row(
            f"{letter.source}/{letter.entity}",
            letter.source_file,
            str(letter.line_number),
            letter.reason,
            letter.detail,
        )
    if table.row_count:
        console.print(table)
    elif is_choice:
        console.print("No dead letter is of this entity and reason; without them you see all.")
    else:
        console.print("There are no dead letters.")


def print_erasure(console: Console, erasure: Erasure) -> None:
    """Print what an erasure did and what the search for traces found."""
    if not erasure.was_known:
        console.print("Nobody of that id was known; should one arrive, it will not be kept.")
    console.print(
        f"{erasure.records_removed:,} records removed, {erasure.records_kept_without_person:,} "
        f"kept without the person, in {erasure.landing_files:,} landing files and "
        f"{erasure.segments:,} segments; {erasure.table_rows:,} rows of {erasure.tables:,} tables.",
        highlight=False,
    )
    if erasure.old_versions:
        console.print(
            f"{erasure.old_versions:,} older versions in S3 were deleted.", highlight=False
        )
    if erasure.messages:
        console.print(
            f"{erasure.messages:,} messages that waited for the event bus were removed.",
            highlight=False,
        )
    if erasure.copies:
        console.print(
            f"{len(erasure.copies)} generations of the lake were rewritten or removed.",
            highlight=False,
        )
    if shared := erasure.left.get("visitor"):
        console.print(
            f"{shared:,} devices on which others have signed in, too, keep the clicks that name "
            "nobody: larder erase --visitor ID removes the device from them, by the visitor id it "
            "sends.",
            highlight=False,
        )
    if named := erasure.left.get("commerce"):
        console.print(
            f"{named:,} customers have signed in on this device; their clicks keep them until "
            "larder erase CUSTOMER_ID.",
            highlight=False,
        )
    for trace in erasure.traces:
        console.print(f"[red]trace left:[/red] {trace}", highlight=False, soft_wrap=True)
    for file in erasure.unsearchable:
        console.print(f"[red]not searchable:[/red] {file}", highlight=False, soft_wrap=True)
    if erasure.is_proven and not erasure.unsearchable:
        console.print(
            f"Proved by searching {erasure.searched_files:,} files and tables: no trace is left. "
            "Counts that the person was part of are made anew by the next larder run.",
            highlight=False,
        )


def print_bus_state(table: Table, bus: BusState) -> None:
    """Add the rows that say how the event bus stands."""
    since = f" since {bus.oldest_waiting_at:%Y-%m-%d %H:%M} UTC" if bus.oldest_waiting_at else ""
    table.add_row("event bus", f"{bus.place}; {bus.sent:,} messages sent")
    table.add_row("waiting for it", f"{bus.waiting:,} messages{since}")
    if bus.set_aside:
        table.add_row("set aside", f"{bus.set_aside:,} messages, too large for it")
    if bus.failure:
        table.add_row("last failure", bus.failure)


def print_status(console: Console, status: Status) -> None:
    """Print how the warehouse stands."""
    table = Table(box=None, show_header=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    table.add_row("home", str(status.home))
    if status.published:
        published = status.published
        table.add_row("published", f"{published.generation}, {len(published.tables)} tables")
        rows = sum(item.rows for item in published.tables)
        table.add_row("", f"{rows:,} rows, at {published.published_at:%Y-%m-%d %H:%M} UTC")
    else:
        table.add_row("published", "nothing yet; `larder run` does it")
    table.add_row("to go back to", ", ".join(status.earlier_generations) or "none")
    if status.withdrawn_generations:
        withdrawn = ", ".join(status.withdrawn_generations)
        table.add_row("taken back", f"{withdrawn}; `larder publish` publishes the build again")
    table.add_row("running", str(status.running) if status.running else "nobody")
    if status.landing:
        table.add_row("newest file", status.landing.newest_file or "none")
        table.add_row("not loaded yet", f"{status.landing.files_not_loaded:,} files")
        if status.landing.bucket_bytes is not None:
            table.add_row("landing size", f"{status.landing.bucket_bytes / 1e6:,.1f} MB")
    if status.bus:
        print_bus_state(table, status.bus)
    for part, size in status.size_bytes.items():
        table.add_row(f"{part} size", f"{size / 1e6:,.1f} MB")
    console.print(table)
