"""The commands that say what is there and how good it is; none changes what is published."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from larder.cli.group import (
    DONE,
    FAILED,
    larder,
    locked,
    messages,
    output,
    require_account,
)
from larder.errors import BusError, LandingError, LarderError, UsageError
from larder.reporting import Reporter, print_proof, print_status
from larder.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

    from larder.serving.drawing import Bars

# Two months tell more than their weekends and holidays.
PROVED_DAYS = 60


@larder.command("status")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def status_command(settings: Settings, as_json: bool) -> int:
    """Say what is published, who is running and what waits in the landing zone."""
    from larder.pipeline import bus_state, landing_state
    from larder.serving.status import status

    found = status(settings)
    trouble: LarderError | None = None
    # where one of them fails all the rest can be said, and is wanted most then
    try:
        found = replace(found, bus=bus_state(settings))
    except BusError as error:
        trouble = error
    try:
        found = replace(found, landing=landing_state(settings))
    except LandingError as error:
        trouble = error
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=2))
    else:
        print_status(output, found)
    if trouble:
        raise trouble
    return DONE


@larder.command()
@click.argument("sql", required=False)
@click.option("--analysis", help="A saved question; `--analysis list` shows them.")
@click.option("--format", "shown_as", type=click.Choice(["table", "csv", "json"]), default="table")
@click.option(
    "--live", "is_live", is_flag=True, help="Add schema live: events that are not published yet."
)
@click.option(
    "--chart",
    "picture",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw the analysis to this .svg file, too.",
)
@click.pass_obj
def query(
    settings: Settings,
    sql: str | None,
    analysis: str | None,
    shown_as: str,
    picture: Path | None,
    *,
    is_live: bool,
) -> int:
    """Ask the published marts something, read-only; an analysis draws its answer, too."""
    from larder.serving import drawing, reading

    if (sql is None) == (analysis is None):
        raise click.UsageError("Give either a query in quotes or --analysis NAME.")
    if picture and (analysis is None or picture.suffix.lower() != ".svg"):
        raise click.UsageError("--chart FILE.svg draws an analysis: give --analysis NAME as well.")
    if analysis == "list":
        for name, file in sorted(reading.list_analyses().items()):
            click.echo(f"{name:32} {reading.question_of(file)}")
        return DONE
    text = sql if analysis is None else reading.saved_analysis(settings, analysis)
    assert text is not None
    chart = drawing.chart_of(reading.list_analyses()[analysis]) if analysis else None
    if picture and chart is None:
        raise UsageError(f"{analysis} declares no chart; its second line would have to.")
    fill = None
    if is_live:
        from larder.live import Live

        fill = Live(settings, text, lambda line: messages.print(line, highlight=False)).fill
    is_table = shown_as == "table"
    limit = reading.SHOWN_ROWS if is_table else None
    result = reading.run_query(settings, text, limit=limit, fill=fill)
    bars = drawing.bars_of(chart, result) if chart else None
    if picture and bars and analysis:
        _draw(bars, picture, reading.question_of(reading.list_analyses()[analysis]))
    if is_table:
        table = reading.as_table(result)
        is_wide = output.measure(table).maximum > output.width
        output.print(reading.as_records(result) if is_wide else table)
        if bars and bars.rows:
            output.print(drawing.as_bars(bars))
    else:
        render: Callable[[reading.QueryResult], str] = (
            reading.as_csv if shown_as == "csv" else reading.as_json
        )
        click.echo(render(result), nl=False)
    return DONE


def frame_of(bars: Bars) -> pd.DataFrame:
    """Return what `charts.bars` takes: `row`, `name`, `measure`, `value`, a row a bar."""
    import pandas as pd

    cells = [
        (row, name, measure, value)
        for row, (name, values) in enumerate(bars.rows)
        for measure, value in zip(bars.measures, values, strict=True)
    ]
    return pd.DataFrame(cells, columns=["row", "name", "measure", "value"])


def _draw(bars: Bars, picture: Path, question: str) -> None:
    """Write bars as an SVG."""
    from larder import charts
    from larder.serving.drawing import DRAWN_BARS, cut_to

    frame = frame_of(cut_to(bars, DRAWN_BARS))
    try:
        picture.write_text(charts.bars(frame, bars.measures, question), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{picture} cannot be written: {error.strerror}.") from None
    messages.print(f"The chart is in {picture}", highlight=False, soft_wrap=True)


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
    from larder.serving.exporting import export_table

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


@larder.command("backtest")
@click.option(
    "--days", default=PROVED_DAYS, show_default=True, help="Replay so many days, the newest."
)
@click.option("--format", "shown_as", type=click.Choice(["table", "json"]), default="table")
@click.pass_obj
def backtest_command(settings: Settings, days: int, shown_as: str) -> int:
    """Replay your own past under the plan: waste, empty shelves and cost against what was done."""
    from larder.backtest import prove

    require_account(settings)
    _require_days(days)
    with locked(settings, "larder backtest"), Reporter(messages) as reporter:
        proof = prove(settings, days, reporter.start("backtest"))
    if shown_as == "json":
        click.echo(json.dumps(proof.to_dict(), ensure_ascii=False, indent=2))
    else:
        print_proof(output, proof)
    return DONE


@larder.command("report")
@click.option(
    "--days", default=PROVED_DAYS, show_default=True, help="Judge by so many days, the newest."
)
@click.pass_obj
def report_command(settings: Settings, days: int) -> int:
    """Write a page that shows how good the scores are on your own past."""
    from larder.report import write_report

    require_account(settings)
    _require_days(days)
    with locked(settings, "larder report"), Reporter(messages) as reporter:
        page = write_report(settings, days, reporter.start("report"))
    output.print(f"The report is in {page}", highlight=False, soft_wrap=True)
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

    require_account(settings)
    with locked(settings, "larder docs"):
        page = write_docs(settings)
    output.print(f"The documentation is in {page}", highlight=False, soft_wrap=True)
    return DONE


def _require_days(days: int) -> None:
    if days < 1:
        raise UsageError("--days must be at least 1.")
