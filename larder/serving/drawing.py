"""What a saved analysis draws: bars, in the terminal below its table.

Its second line says what: `-- chart: <measure>[, <measure>] by <column>[, <column>]`. Each row is a
bar of each measure, in the order of the rows, named by the columns.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from rich.bar import Bar
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from larder.errors import WarehouseError
from larder.serving.reading import QueryResult

# A terminal shows no more at once; a file no more that can be read.
SHOWN_BARS, DRAWN_BARS = 40, 100
BAR_WIDTH = 50
COLOURS = ("green", "yellow", "blue", "magenta")
_DECLARED = re.compile(r"-- chart: (\w+(?:, \w+)*) by (\w+(?:, \w+)*)")


@dataclass(frozen=True)
class Chart:
    """Say which columns are measured, and which name a row."""

    measures: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True)
class Bars:
    """Hold what is drawn: a name and the values of the measures for each row."""

    measures: tuple[str, ...]
    rows: Sequence[tuple[str, tuple[float | None, ...]]]


def chart_of(analysis: Path) -> Chart | None:
    """Return the chart that a saved analysis declares, null where it declares none.

    Raises:
        WarehouseError: the declaration cannot be read.
    """
    with analysis.open(encoding="utf-8") as file:
        line = (file.readline(), file.readline())[1].strip()
    if not line.startswith("-- chart:"):
        return None
    declared = _DECLARED.fullmatch(line)
    if declared is None:
        raise WarehouseError(
            f"the second line of {analysis} declares no chart. Write: "
            "-- chart: <measure>[, <measure>] by <column>[, <column>]"
        )
    measures, names = (tuple(part.split(", ")) for part in declared.groups())
    return Chart(measures, names)


def bars_of(chart: Chart, result: QueryResult) -> Bars:
    """Take from a result what a chart draws.

    Raises:
        WarehouseError: the result lacks a column.
    """
    missing = sorted({*chart.measures, *chart.names} - {*result.columns})
    if missing:
        raise WarehouseError(
            f"the chart needs the column {', '.join(missing)}, which the analysis does not give. "
            f"It gives: {', '.join(result.columns)}."
        )
    places = {column: place for place, column in enumerate(result.columns)}
    rows = [
        (
            " · ".join(_name(row[places[column]]) for column in chart.names),
            tuple(_number(row[places[column]]) for column in chart.measures),
        )
        for row in result.rows
    ]
    return Bars(chart.measures, rows)


def as_bars(bars: Bars) -> RenderableType:
    """Draw bars for a terminal, at most `SHOWN_BARS`; the last line says what is cut."""
    shown = bars.rows[: max(SHOWN_BARS // len(bars.measures), 1)]
    most = max((value or 0 for _, values in shown for value in values), default=0)
    grid = Table.grid(padding=(0, 1))
    grid.add_column(justify="right", overflow="fold")
    grid.add_column(width=BAR_WIDTH)
    grid.add_column(justify="right")
    for name, values in shown:
        for number, value in enumerate(values):
            bar = Bar(most or 1, 0, max(value or 0, 0), color=COLOURS[number % len(COLOURS)])
            grid.add_row(Text("" if number else name), bar, _written(value))
    legend = Text()
    for number, measure in enumerate(bars.measures):
        legend.append("■ ", COLOURS[number % len(COLOURS)])
        legend.append(f"{measure}  ")
    if len(shown) < len(bars.rows):
        legend.append(f"the first {len(shown):,} of {len(bars.rows):,} rows")
    return Group(legend, grid)


def cut_to(bars: Bars, most: int) -> Bars:
    """Return the first rows, with at most so many bars."""
    return Bars(bars.measures, bars.rows[: max(most // len(bars.measures), 1)])


def _name(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="minutes")
    return str(value)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    return float(value) if math.isfinite(value) else None


def _written(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
